"""Each bug changes what a peer does, on a vector or in a conversation made for it, and nothing else does."""

import contextlib
import pathlib
import re
from collections.abc import Callable

import pytest

from . import client_probes, server_probes
from .bugs import BUGS, Bug
from .vectors import Vector, ends_server, load, play_to_client, play_to_server, server, server_options

FOLDER = pathlib.Path(__file__).parent
PROBES = {"server": server_probes.PROBES, "client": client_probes.PROBES}
WAIT = 1.5  # seconds for what a peer with a bug may not send
DEVIATION = (
    AssertionError,
    OSError,
    ValueError,
)  # a time-out and an end are OSErrors, ill-formed text is a ValueError


def name(bug: Bug) -> str:
    return f"{bug.role}-{bug.name}"


def first_broken_vector(bug: Bug) -> str | None:
    """The vector that a peer with the bug fails; those of the requirement that it breaks come first."""
    ordered = sorted(load(bug.role), key=lambda vector: bug.requirement not in vector["requirements"])
    with contextlib.ExitStack() as servers:
        ports: dict[tuple[str, ...], int] = {}
        for vector in ordered:
            try:
                if bug.role == "client":
                    play_to_client(vector, bug=bug.name, wait=WAIT)
                else:
                    play_to_one_server(vector, bug, servers, ports)
            except DEVIATION:
                return str(vector["id"])
    return None


def play_to_one_server(
    vector: Vector, bug: Bug, servers: contextlib.ExitStack, ports: dict[tuple[str, ...], int]
) -> None:
    """Play a vector to a server with the bug, to a new one where need be."""
    options = server_options(vector.get("needs", {}))
    if ends_server(vector):
        with server(*options, bug=bug.name) as (port, _):
            play_to_server(vector, port, wait=WAIT)
    else:
        if options not in ports:
            ports[options] = servers.enter_context(server(*options, bug=bug.name))[0]
        play_to_server(vector, ports[options], wait=WAIT)


@pytest.mark.parametrize("bug", BUGS, ids=name)
def test_bug_shows(bug: Bug) -> None:
    probe = PROBES[bug.role].get(bug.name)
    if probe is None:
        assert first_broken_vector(bug), "no vector fails"
    else:
        with pytest.raises(DEVIATION):
            probe(bug.name)


@pytest.mark.parametrize(
    "probe",
    dict.fromkeys([*server_probes.PROBES.values(), *client_probes.PROBES.values()]),
    ids=lambda probe: probe.__name__,
)
def test_correct_peer_passes_probe(probe: Callable[[str | None], None]) -> None:
    probe(None)


def test_names_are_unique() -> None:
    assert len({name(bug) for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("role", ["server", "client"])
def test_every_switch_is_in_the_table(role: str) -> None:
    own = (
        ["server*.py", "reference_server.py", "wrong_text.py"]
        if role == "server"
        else ["reference_client.py"]
    )
    shared = re.findall(r'bug\("([a-z0-9-]+)"\)', (FOLDER / "wire.py").read_text(encoding="utf-8"))
    text = "".join(path.read_text(encoding="utf-8") for glob in own for path in FOLDER.glob(glob))
    switches = set(re.findall(r'bug\("([a-z0-9-]+)"\)', text))
    table = {bug.name for bug in BUGS if bug.role == role}
    assert switches <= table
    assert table <= switches | set(shared)


def test_requirements_are_in_the_specification() -> None:
    text = (FOLDER.parents[1] / "spec" / "SPEC.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\*\*(REQ-[A-Z]+-\d+)\*\*", text))
    assert {bug.requirement for bug in BUGS} <= known
