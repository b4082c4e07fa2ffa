"""The suite for clients against this project's own client, and against clients with a fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conformance_adapter.py"
SUITE = [sys.executable, "-m", "framelet_conformance", "client"]


def run(tmp_path: Path, adapter: Path, *options: str) -> tuple[int, dict[str, str]]:
    """The exit status, and the verdict of each case."""
    report = tmp_path / "report.json"
    launch = f"{sys.executable} {adapter} {{host}} {{port}}"
    command = [*SUITE, "-q", "--launch", launch, "--replay-dir", str(tmp_path), "--report-json", str(report)]
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True, cwd=tmp_path)
    document = json.loads(report.read_text(encoding="utf-8"))
    verdicts = {case["id"]: case["verdict"] for case in document["cases"]}
    bad = {name: verdict for name, verdict in verdicts.items() if verdict != "pass"}
    return done.returncode, bad


# A selection: all cases take a minute; `make steady` runs them.
@pytest.mark.timeout(300)
def test_our_client_conforms(tmp_path: Path) -> None:
    names = [
        "client.type.*",
        "client.form.*",
        "client.sends.*",
        "client.size.*",
        "vector.client-error-4*.next",
    ]
    options = [word for name in names for word in ("--only", name)]
    assert run(tmp_path, EXAMPLE, *options, "--time-scale", "2") == (0, {})


@pytest.mark.timeout(300)
def test_the_example_in_the_contract_is_a_whole_adapter(tmp_path: Path) -> None:
    text = (ROOT / "spec" / "framelet_conformance" / "ADAPTER.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 45
    adapter = tmp_path / "adapter.py"
    adapter.write_text(found[1], encoding="utf-8")
    # It has no pipeline, and is started for each conversation.  Whether an ERROR that nobody asked for
    # reaches it before or after its next request is up to the system, and so is what can be said about it.
    options = ["--only", "vector.client-*-unasked.next", "--only", "vector.client-stopped*.next"]
    options += ["--only", "client.form.hello-*", "--only", "client.sends.*"]
    status, bad = run(tmp_path, adapter, *options, "--time-scale", "3")
    assert status == 0
    skipped = {name for name, verdict in bad.items() if verdict == "skipped"}
    assert skipped
    assert all(name.startswith("client.sends.") for name in skipped)
    assert all(bad[name] == "informational" for name in bad.keys() - skipped)


def cases() -> list[dict[str, object]]:
    done = subprocess.run(
        [*SUITE, "--launch", "x {host} {port}", "--list", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_every_vector_for_a_client_is_a_case() -> None:
    vectors = json.loads((ROOT / "spec" / "vectors" / "client.json").read_text(encoding="utf-8"))["vectors"]
    ids = {str(case["id"]) for case in cases()}
    one_octet = {"", *(f"{octet:02x}" for octet in range(256))}
    for vector in vectors:
        name = f"vector.{vector['id']}"
        assert f"{name}.next" in ids
        assert (f"{name}.whole" in ids) is bool(vector["asked"])
        assert (f"{name}.split" in ids) is bool(vector["asked"] and str(vector["send"]) not in one_octet)


def test_ids_are_of_one_form() -> None:
    for case in cases():
        assert re.fullmatch(r"(vector|client|conversations)(\.[a-z0-9-]+)+", str(case["id"]))
        assert case["requirements"]


# Faults, each put into this project's client; the case must name the requirement.
FAULTS = {
    "vector.client-ill-formed-lone.next": (
        "REQ-TEXT-6",
        (
            "import framelet.client_connection as c\n"
            "c.text_of = lambda octet, body: body.decode(errors='replace')"
        ),
    ),
    "client.form.pong-other": (
        "REQ-PING-3",
        (
            "import framelet.client_connection as c\n"
            "def event(self, octet, body, real=c.ClientConnection._event):\n"
            "    return real(self, octet, self._pings[0] if octet == 7 else body)\n"
            "c.ClientConnection._event = event"
        ),
    ),
    "client.error.all-fatal": (
        "REQ-ERROR-12",
        ("import framelet.registry as r\nr.ErrorCode.fatal = property(lambda code: 500 <= code < 599)"),
    ),
    "client.flow.deadlock": (
        "REQ-FLOW-4",
        (
            "import framelet_client.exchange.driver as d\n"
            "real = d.Driver.send\n"
            "def send(self):\n"
            "    self.socket.setblocking(True); real(self)\n"
            "    while self.unsent: real(self)\n"
            "    self.socket.setblocking(False)\n"
            "d.Driver.send = send"
        ),
    ),
    "client.deadline.beyond": (
        "REQ-TIME-6",
        "import framelet.client_connection as c\nc.ClientConnection.check_deadlines = lambda self, now: None",
    ),
    "client.type.ignorable": (
        "REQ-TYPE-3",
        (
            "import framelet.codec as c\n"
            "from framelet import ClientConnection as K\n"
            "def take(self, octet, body, real=K._take):\n"
            "    return real(self, 0x7f if octet == 0xbf else octet, body)\n"
            "K._take = take"
        ),
    ),
    "client.sends.two-octet-length": (
        "REQ-FRAME-2",
        (
            "from framelet import ClientConnection as K\n"
            "def write(self, octet, body):\n"
            "    self._out = None\n"
            "def pieces(self, now, real=K.data_to_send):\n"
            "    data = real(self, now)\n"
            "    return data[:1] + data[1:5][::-1] + data[5:]\n"
            "K.data_to_send = pieces"
        ),
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_a_client_with_a_fault_does_not_conform(tmp_path: Path, name: str) -> None:
    requirement, change = FAULTS[name]
    adapter = tmp_path / "adapter.py"
    adapter.write_text(
        f"{change}\nimport runpy, sys\nrunpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n",
        encoding="utf-8",
    )
    status, bad = run(tmp_path, adapter, "--only", name)
    assert (status, bad) == (1, {name: "fail"})
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    broken = document["cases"][0]["broken"] or document["cases"][0]["requirements"]
    assert requirement in broken
    assert run(tmp_path, EXAMPLE, "--only", name) == (0, {})
