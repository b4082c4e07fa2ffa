"""The report as JUnit XML, for build servers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from framelet_conformance.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from framelet_conformance.results import CaseResult, Results
    from framelet_conformance.specification import Requirement

_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def write(results: Results, requirements: Mapping[str, Requirement], path: Path) -> None:
    """Write one testcase for each case: failures are failures, setup errors are errors."""
    del requirements  # the identifiers are enough here
    cases = results.cases
    suite = ET.Element(
        "testsuite",
        name=f"framelet-conformance {results.role}",
        tests=str(len(cases)),
        failures=str(sum(case.bad or case.stale for case in cases)),
        errors=str(sum(case.verdict is Verdict.SETUP_ERROR for case in cases) + bool(results.trouble)),
        skipped=str(sum(case.verdict is Verdict.SKIPPED for case in cases)),
        time=f"{results.duration:.3f}",
    )
    for case in cases:
        suite.append(_element(case))
    if results.trouble:
        trouble = ET.SubElement(suite, "testcase", classname=results.role, name="sanity", time="0")
        _say(ET.SubElement(trouble, "error"), results.trouble)
    tree = ET.ElementTree(suite)
    ET.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _element(case: CaseResult) -> ET.Element:
    group, _, name = case.id.partition(".")
    element = ET.Element("testcase", classname=group, name=name, time=f"{case.duration:.3f}")
    properties = ET.SubElement(element, "properties")
    for key, value in (
        ("verdict", str(case.verdict)),
        ("requirements", " ".join(case.requirements)),
        ("broken", " ".join(case.broken)),
        ("close", f"{case.close or ''}"),
        ("replay", case.replay or ""),
    ):
        if value:
            ET.SubElement(properties, "property", name=key, value=value)
    if case.stale:
        _say(ET.SubElement(element, "failure", type="stale"), "the case was expected to fail and did not")
    elif case.bad:
        _say(ET.SubElement(element, "failure", type=str(case.verdict)), case.reason)
    elif case.verdict is Verdict.SETUP_ERROR:
        _say(ET.SubElement(element, "error", type=str(case.verdict)), case.reason)
    elif case.verdict is Verdict.SKIPPED:
        _say(ET.SubElement(element, "skipped"), case.reason)
    return element


def _say(element: ET.Element, text: str) -> None:
    clean = _UNFIT.sub("\ufffd", text)
    element.set("message", clean.splitlines()[0] if clean else "")
    element.text = clean
