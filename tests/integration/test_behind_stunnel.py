"""A server behind a real stunnel, as configured in deploy/: TLS in front, PROXY version 1 behind."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import string
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from framelet import FrameDecoder, FrameType, TcpAddress, encode

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Command

    from framelet import Frame


STUNNEL = next(
    filter(None, (shutil.which(name, path=os.defpath + ":/usr/sbin") for name in ("stunnel4", "stunnel"))),
    None,
)
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "stunnel.conf"
REQUEST, STOP = encode(FrameType.REQUEST, "größe".encode()), encode(FrameType.STOP)

pytestmark = pytest.mark.skipif(not STUNNEL, reason="stunnel is not installed: apt-get install stunnel4")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def stunnel(tmp_path: Path, authority: trustme.CA) -> Iterator[Callable[[Command], TcpAddress]]:
    """Start stunnel in front of a server; returns where it listens."""
    started: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "stunnel.log"
    certificate = tmp_path / "stunnel.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    certificate.chmod(0o600)

    def start(server: Command) -> TcpAddress:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        configuration = string.Template(CONFIGURATION.read_text(encoding="utf-8")).substitute(
            FRAMELET_BIND=f"127.0.0.1:{port}",
            FRAMELET_SERVER=server.address().removeprefix("framelet://"),
            FRAMELET_CERTIFICATE=str(certificate),
        )
        with log.open("wb") as stderr:
            process = subprocess.Popen([str(STUNNEL), "-fd", "0"], stdin=subprocess.PIPE, stderr=stderr)
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(configuration.encode())
        process.stdin.close()

        def listens() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        until(listens)
        return TcpAddress("127.0.0.1", port)

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def connect(address: TcpAddress, authority: trustme.CA, source: str) -> ssl.SSLSocket:
    """Connect by TLS from an address; the certificate is verified."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    sock = socket.create_connection((address.host, address.port), timeout=20, source_address=(source, 0))
    return context.wrap_socket(sock, server_hostname=address.host)


def take(sock: ssl.SSLSocket, count: int) -> list[Frame]:
    decoder = FrameDecoder(65_536)
    frames: list[Frame] = []
    while len(frames) < count:
        if (frame := decoder.next_frame()) is not None:
            frames.append(frame)
            continue
        data = sock.recv(65_536)
        assert data, f"the stream ended after {len(frames)} of {count} frames"
        decoder.receive_data(data)
    return frames


@pytest.mark.req("REQ-STOP-1")
def test_a_client_of_stunnel_is_served_and_known_by_its_own_address(
    command: Callable[..., Command], stunnel: Callable[[Command], TcpAddress], authority: trustme.CA
) -> None:
    server = command("--proxy-from", "127.0.0.1", "--max-connections-per-address", "1")
    address = stunnel(server)
    with connect(address, authority, "127.0.0.2") as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        host, port = client.getsockname()
        client.sendall(REQUEST * 100 + STOP)
        *replies, refused = take(client, 101)
        assert {frame.body.decode() for frame in replies} == {"eßörg"}
        assert refused.body.startswith(b"403")
        until(lambda: any(f"{host}:{port} via 127.0.0.1:" in line for line in server.errors))
        with connect(address, authority, "127.0.0.2") as late:
            assert take(late, 1)[0].body.startswith(b"507")
        with connect(address, authority, "127.0.0.3") as other:
            other.sendall(REQUEST)
            assert take(other, 1)[0].type == FrameType.REPLY
    server.process.terminate()
    status, log = server.finish()
    assert status == 0
    assert "Traceback" not in log
