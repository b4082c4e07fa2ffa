"""The programs of README.md and docs/embedding.md, as they stand, and one that a user could have written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from framelet import FrameDecoder, ServerConnection
from framelet_client import AnswerError, Client
from framelet_server import Server

from . import user_program

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PATIENCE = 60

PRINTED = {
    "README.md": [
        "HELLO\n",
        f"{[f'TEXT {number}' for number in range(100)]}\n['A', 'B']\n",
        "02 00 00 00 05 6f 6c 6c 65 68\n",
    ],
    "docs/embedding.md": [
        "",  # the server, which is talked to
        "['one', 'two']\n"
        + repr(b"\x02\0\0\0\x03ONE\x05\0\0\0\x0b460 not two\x07\0\0\0\x04ping\x02\0\0\0\x05THREE")
        + "\n",
        "as they should be\n",
        "b'hello'\nb'hi'\nb'\\x05\\x00hello'\n",
        "7 b'hello'\nexpected b'MSG1', not b'GET ' b'GET / HTTP/1.1\\r\\n'\n",
        "b'\\x00\\x00\\x00\\thello'\n[FormatFrame(header={}, body=b'hello')]\n",
        "['A', 'B', 'C']\n",
    ],
}
"""What the programs of each document print."""


def programs(document: str) -> list[str]:
    """The Python programs of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_programs(document: str, python: Sequence[str | Path]) -> None:
    """Run each program in a process of its own, and compare what it prints."""
    found = programs(document)
    assert len(found) == len(PRINTED[document])
    for program, printed in zip(found, PRINTED[document], strict=True):
        if "create_server" in program:
            converse(program, python)
            continue
        done = subprocess.run(
            [*python, "-c", program], check=False, capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stdout) == (0, printed), done.stderr


def converse(program: str, python: Sequence[str | Path]) -> None:
    """Talk to the server of a document: what is good and what is bad, and a client after another."""
    with subprocess.Popen([*python, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            for _ in range(2):
                with Client("127.0.0.1", port) as client:
                    assert client.request("hello") == "HELLO"
                    assert list(client.pipeline(["a"] * 1_000)) == ["A"] * 1_000
                    assert client.request("x" * 3_000_000) == "X" * 3_000_000
                    client.ping()
                    assert client.hello().parameters["max-body"] == "16777216"
                    for refused, code in ((client.stop, 403), (lambda: client.send(0xC0, "x"), 404)):
                        with pytest.raises(AnswerError) as caught:
                            refused()
                        assert caught.value.code == code
                    assert client.request("still here") == "STILL HERE"
        finally:
            process.kill()


@pytest.mark.parametrize("document", PRINTED)
def test_the_programs_of_a_document_do_what_it_says(document: str) -> None:
    run_programs(document, [sys.executable])


def test_a_program_that_is_clean_by_the_strictest_type_checkers_works() -> None:
    assert user_program.main() == [
        *("HI", "HELLO", "460 no such room", "olleh"),
        *("X", "Y", "A", "B"),
        "1 b'a'",
    ]


def test_what_is_printed_in_a_debugger_says_what_a_thing_is_doing() -> None:
    connection, decoder = ServerConnection(now=0.0), FrameDecoder()
    connection.receive_data(b"\x01\0\0\0\5hel", 0.0)
    decoder.receive_data(b"\x01\0\0\0\0\x01")
    assert repr(connection) == "<ServerConnection open, 8 octets in, 0 out>"
    assert repr(decoder) == "<FrameDecoder 1 frames, 1 octets of the next>"
    server = Server(("127.0.0.1", 0))
    assert repr(server) == "<Server framelet://127.0.0.1:0 not started>"
    with server, Client(server.address) as client:
        address = server.address
        assert repr(server) == f"<Server {address} ready>"
        assert repr(client) == f"<Client {address} connected>"
        client.close()
        assert repr(client) == f"<Client {address} closed>"
