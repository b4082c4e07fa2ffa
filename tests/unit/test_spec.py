"""The specification holds together: its requirements, its grammar, its examples, its links."""

from __future__ import annotations

import ast
import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.each import each

from framelet import (
    FrameType,
    RequestReceived,
    ServerConnection,
    StopReceived,
    reverse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "spec" / "SPEC.md"
TEXT = SPEC.read_text(encoding="utf-8")

KEYWORD = re.compile(r"\b(MUST|SHOULD|MAY)\b")
REQUIREMENT = re.compile(r"\bREQ-([A-Z]+)-([0-9]+)\b")
ITEM = re.compile(r"- \*\*(REQ-[A-Z]+-[0-9]+)\*\* ")


def without(pattern: str, text: str) -> str:
    """A text with what matches taken out, its line ends left."""
    return re.sub(pattern, lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """What people wrote: no code blocks, no generated tables."""
    text = without(r"^```.*?^```$", text)
    return without(r"<!-- begin generated: .*?<!-- end generated: .*?-->", text)


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level, by the heading."""
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str) -> list[str]:
    """Paragraphs, tables, and list items one by one, each as one line."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        items = re.split(r"^(?=- )", paragraph, flags=re.MULTILINE)
        found += [" ".join(item.split()) for item in items if item.strip()]
    return found


def strays(text: str) -> list[str]:
    """Blocks whose keywords and identifier do not go together."""
    return [
        block
        for heading, section in sections(prose(text)).items()
        if heading != "How to read it"
        for block in blocks(section)
        if bool(KEYWORD.search(block)) != bool(ITEM.match(block))
    ]


def defined(text: str) -> list[str]:
    """The requirements that the specification defines, in order."""
    return [match[1] for block in blocks(prose(text)) if (match := ITEM.match(block))]


# Requirements.


def test_every_keyword_stands_in_a_requirement_and_every_requirement_has_one() -> None:
    assert strays(TEXT) == []


@pytest.mark.parametrize(
    "addition",
    [
        "A server MUST be kind.",
        "- A server MUST be kind.",
        "| a | a server SHOULD NOT sleep |",
        "- **REQ-FRAME-1** A server is kind.",
        "- Says **REQ-FRAME-1** that a server MAY rest.",
    ],
)
def test_a_stray_keyword_would_be_found(addition: str) -> None:
    assert strays(f"## 1. Terms\n\n{addition}\n") == [addition]


def test_a_requirement_names_one_identifier_in_bold() -> None:
    for block in blocks(prose(TEXT)):
        assert block.count("**REQ-") == (1 if ITEM.match(block) else 0), block


def test_requirements_are_numbered_without_holes_and_each_series_has_its_section() -> None:
    home: dict[str, str] = {}
    for heading, section in sections(prose(TEXT)).items():
        for name in defined(section):
            series = name.split("-")[1]
            assert home.setdefault(series, heading) == heading, f"{name} belongs to {home[series]}"
    names = defined(TEXT)
    for series in home:
        found = [name for name in names if name.startswith(f"REQ-{series}-")]
        assert found == [f"REQ-{series}-{number}" for number in range(1, len(found) + 1)]


def sources() -> Iterator[Path]:
    """Every file that may cite a requirement."""
    for folder in ("protocol", "server", "client", "tests", "spec", "docs", "examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".json", ".md", ".toml"} and "__pycache__" not in path.parts:
                yield path


def test_every_requirement_that_is_cited_exists() -> None:
    known = set(defined(TEXT))
    unknown = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources()
        for match in REQUIREMENT.finditer(path.read_text(encoding="utf-8"))
        if match[0] not in known
    ]
    assert unknown == []


def covered() -> set[str]:
    """The requirements that a vector names, or the mark of a test."""
    found = set()
    for path in (ROOT / "spec" / "vectors").glob("*.json"):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            found |= set(vector["requirements"])
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.req":
                found |= {item.value for item in node.args if isinstance(item, ast.Constant)}
    return found


def test_every_requirement_is_tested_or_says_why_it_cannot_be() -> None:
    untested = tomllib.loads((ROOT / "spec" / "untested.toml").read_text(encoding="utf-8"))
    known, tested = set(defined(TEXT)), covered()
    assert sorted(untested.keys() - known) == [], "spec/untested.toml names what does not exist"
    assert sorted(untested.keys() & tested) == [], "spec/untested.toml names what is tested by now"
    assert all(isinstance(reason, str) and len(reason.split()) > 3 for reason in untested.values())
    missing = sorted(known - tested - untested.keys())
    assert not missing, f"no vector and no test names {', '.join(missing)}"


# The worked examples.

FIELD = re.compile(r"(?:[0-9a-f]{2}|\.\.)+|\.\.\.|FIN")
STAND_INS = {"........": "[0-9a-f]{8}", "...": "(?:[0-9a-f]{2})*"}


class Line(NamedTuple):
    """A line of an example: who sends, the fields of the frame (or FIN), and the comment."""

    sender: str
    fields: list[str]
    comment: str


def wire_blocks() -> list[list[Line]]:
    """The examples of section 19."""
    found = re.findall(r"^```wire\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [[read_line(line) for line in block.splitlines()] for block in found]


def read_line(line: str) -> Line:
    match = re.fullmatch(r"([CS])  (.*?)(?:  +(.*))?", line)
    assert match, line
    fields = match[2].split(" ")
    assert all(FIELD.fullmatch(field) for field in fields), line
    return Line(match[1], fields, match[3] or "")


@each("step", [1, 3, 10_000])
@each("example", wire_blocks())
def test_worked_example(example: list[Line], step: int) -> None:
    ends = {line.sender for line in example if line.fields == ["FIN"]}
    frames = {who: [line.fields for line in example if line.sender == who] for who in "CS"}
    sent = bytes.fromhex("".join(field for fields in frames["C"] for field in fields if field != "FIN"))
    expected = [fields for fields in frames["S"] if fields != ["FIN"]]
    output, connection = converse(sent, step, eof="C" in ends)
    assert len(output) == len(expected)
    for frame, fields in zip(output, expected, strict=True):
        pattern = "".join(STAND_INS.get(field, field) for field in fields)
        assert re.fullmatch(pattern, frame.hex()), (frame.hex(), fields)
    assert connection.finished is ("S" in ends)


def converse(sent: bytes, step: int, *, eof: bool) -> tuple[list[bytes], ServerConnection]:
    """What a server answers that reverses, allows STOP and has no application handlers."""
    connection = ServerConnection(now=0.0, takes_stop=True)
    for start in range(0, len(sent), step):
        connection.receive_data(sent[start : start + step], 0.0)
        serve(connection)
    if eof:
        connection.receive_eof()
        serve(connection)
    data, frames = connection.data_to_send(0.0), []
    while data:
        end = 5 + int.from_bytes(data[1:5], "big")
        frames.append(data[:end])
        data = data[end:]
    return frames, connection


def serve(connection: ServerConnection) -> None:
    while (event := connection.next_event()) is not None:
        match event:
            case RequestReceived(text):
                connection.send_reply(event, reverse(text))
            case StopReceived():
                connection.allow_stop(event)
                connection.send_stopped(event, 0, 0)


def test_there_are_worked_examples_and_their_comments_are_true() -> None:
    assert len(wire_blocks()) >= 7
    for _, fields, comment in itertools.chain.from_iterable(wire_blocks()):
        named = re.match(r"([A-Z]+)\b", comment)
        if named and named[1] in FrameType.__members__:
            assert int(fields[0], 16) == FrameType[named[1]], comment
        quoted = re.fullmatch(r'[A-Z]+ "([^".]*)"', comment)
        if quoted:
            assert bytes.fromhex("".join(fields[2:])).decode() == quoted[1]
            assert "." in fields[1] or int(fields[1], 16) == len(quoted[1].encode())
        coded = re.fullmatch(r"ERROR ([0-9]{3})", comment)
        if coded:
            assert bytes.fromhex(fields[2]).decode() == f"{coded[1]} "


# The grammar.


def rules(text: str) -> list[tuple[str, str]]:
    """Name and definition of each ABNF rule, without comments and spare spaces."""
    found = []
    for block in re.findall(r"^```abnf\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            name, equals, definition = line.split(";")[0].partition("=")
            if equals:
                found.append((name.strip(), " ".join(definition.split())))
    return found


def test_the_collected_grammar_is_the_grammar_of_the_sections() -> None:
    collected: list[tuple[str, str]] = []
    elsewhere: list[tuple[str, str]] = []
    for heading, section in sections(TEXT).items():
        (collected if heading.startswith("18. ") else elsewhere).extend(rules(section))
    assert len(dict(collected)) == len(collected)
    assert sorted(set(elsewhere)) == sorted(collected)


def test_every_rule_that_is_used_is_defined() -> None:
    collected = dict(rules(TEXT))
    terms = re.sub(r"%x[0-9A-F.-]+", "", " ".join(collected.values()))
    used = {name.lstrip("0123456789") for name in re.findall(r"[0-9]*[A-Za-z][A-Za-z0-9-]*", terms)}
    assert used - collected.keys() == {"OCTET", "UTF8-char"}


# Links.


def anchor(heading: str) -> str:
    """The anchor that a heading gets in rendered Markdown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_and_anchors_resolve() -> None:
    headings = re.findall(r"^#+ (.*)$", without(r"^```.*?^```$", TEXT), re.MULTILINE)
    anchors = {anchor(heading) for heading in headings}
    targets = re.findall(r"\]\(([^)]*)\)", prose(TEXT))
    assert targets
    for target in targets:
        path, _, place = target.partition("#")
        if "://" not in path:
            assert not path or (SPEC.parent / path).exists(), target
            assert path or place in anchors, target


def test_every_section_is_in_the_contents() -> None:
    headings = [heading for heading in sections(TEXT) if heading[0].isdigit()]
    assert [heading.split(". ")[0] for heading in headings] == [str(number) for number in range(1, 20)]
    for heading in headings:
        assert f"](#{anchor(heading)})" in TEXT, heading


def test_sections_that_the_text_refers_to_exist() -> None:
    numbers = {heading.split(".")[0] for heading in sections(TEXT)}
    assert set(re.findall(r"\bsection ([0-9]+)", prose(TEXT))) <= numbers
