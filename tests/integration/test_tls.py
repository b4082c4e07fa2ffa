"""TLS over real sockets: the same service, whom each end trusts, and what people are told when it fails."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError, ErrorCode, Frame, FrameType, TlsAddress, encode
from framelet_client import (
    AnswerError,
    Client,
    ClientLimits,
    ClientTls,
    ConnectionLostError,
    FatalAnswerError,
    TlsError,
)
from framelet_client.cli.command import run as framelet
from framelet_client.exchange.source import Texts
from framelet_server import ProxyPolicy, Server, ServerLimits, ServerTls, StopPolicy
from framelet_server.cli.command import main as framelet_server

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Command, Gate, Peer

    from .peers import Connect, Serve

    Start = Callable[..., Command]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(params=VERSIONS)
def tls(request: pytest.FixtureRequest, certificates: Any) -> ServerTls:
    """A server's TLS, that speaks this version at most."""
    server = ServerTls(certificates.server)
    server._context.maximum_version = VERSIONS[request.param]
    return server


@pytest.fixture
def trusting(certificates: Any) -> ClientTls:
    return ClientTls(ca_file=certificates.ca_file)


# The same service.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_client_is_served_at_every_address(
    serve: Serve, tls: ServerTls, trusting: ClientTls, host: str
) -> None:
    server = serve(address=(host, 0), tls=tls)
    assert all(isinstance(address, TlsAddress) for address in server.addresses)
    assert isinstance(server.address, TlsAddress)
    for address in (str(server.address), f"framelets://[{host}]" if ":" in host else host):
        with Client(address, server.address.port, tls=trusting) as client:
            assert str(client.address).startswith("framelets://")
            assert client.request("hello é€😀") == "😀€é olleh"
            assert client.hello().version == 1


@pytest.mark.parametrize("step", [1, 65_536])
def test_a_relay_may_say_whose_tls_it_passes_on(  # noqa: PLR0913, PLR0917 - fixtures
    serve: Serve, tls: ServerTls, certificates: Any, connect: Connect, tls_socket: Any, step: int
) -> None:
    # The header stands in front of all that is relayed, in clear; with it come the first octets of TLS.
    server = serve(tls=tls, proxy=ProxyPolicy(["127.0.0.1"]), max_connections_per_address=1)
    peers: list[Peer] = []

    def relay(host: str) -> Peer:
        peer = connect(server)
        peer.send(f"PROXY TCP4 {host} 192.0.2.1 5555 6666\r\n".encode())
        sock = tls_socket(peer.sock, certificates.context(), step=step)
        sock.do_handshake()
        peers.append(type(peer)(sock))
        return peers[-1]

    assert relay("203.0.113.7").ask("hello") == "olleh"
    assert relay("203.0.113.8").ask("hello") == "olleh"
    assert {channel.peer.host for channel in server._running().table.all()} == {"203.0.113.7", "203.0.113.8"}
    assert relay("203.0.113.7").error() == 507


@pytest.mark.req("REQ-CLOSE-1", "REQ-TLS-3")
def test_all_replies_come_behind_a_half_close(serve: Serve, tls: ServerTls, connect_tls: Connect) -> None:
    server = serve(tls=tls)
    peer = connect_tls(server)
    texts = [str(number) for number in range(1_000)]
    peer.request(*texts)
    peer.end()
    assert peer.replies(len(texts)) == [text[::-1] for text in texts]
    assert peer.rest() == []
    assert peer.sock.notified


@pytest.mark.req("REQ-TLS-3")
def test_a_close_notify_alone_ends_the_stream(serve: Serve, tls: ServerTls, connect_tls: Connect) -> None:
    server = serve(tls=tls)
    peer = connect_tls(server)
    peer.request("ab")
    with pytest.raises(ssl.SSLWantReadError):
        peer.sock.tls.unwrap()
    peer.sock.sendall(b"")  # what is due goes out, and no FIN behind it
    assert peer.replies(1) == ["ba"]
    assert peer.rest() == []
    assert peer.sock.notified


@pytest.mark.req("REQ-CLOSE-1", "REQ-CLOSE-2")
@pytest.mark.parametrize("part", [b"", b"\1\0\0"])
def test_an_end_without_close_notify_is_an_end(
    serve: Serve, tls: ServerTls, connect_tls: Connect, part: bytes
) -> None:
    server = serve(tls=tls)
    peer = connect_tls(server)
    peer.request("ab")
    peer.send(part)
    peer.sock.raw.shutdown(socket.SHUT_WR)
    assert peer.replies(1) == ["ba"]
    assert peer.rest() == []


@pytest.mark.req("REQ-TLS-2")
@pytest.mark.parametrize(
    ("offered", "selected"),
    [(["framelet/1"], "framelet/1"), (["h2", "framelet/1"], "framelet/1"), (["h2"], None), (None, None)],
)
def test_the_protocol_is_named_in_the_handshake(
    serve: Serve, certificates: Any, connect: Connect, offered: list[str] | None, selected: str | None
) -> None:
    server = serve(tls=ServerTls(certificates.server))
    context = certificates.context()
    if offered is not None:
        context.set_alpn_protocols(offered)
    with context.wrap_socket(connect(server).sock, server_hostname="localhost") as sock:
        assert sock.selected_alpn_protocol() == selected
        sock.sendall(encode(FrameType.PING))
        assert sock.recv(9) == encode(FrameType.PONG)


@pytest.mark.req("REQ-TLS-1")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_a_version_before_1_2_is_refused(serve: Serve, certificates: Any, connect: Connect) -> None:
    server = serve(tls=ServerTls(certificates.server))
    context = certificates.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        context.wrap_socket(connect(server).sock, server_hostname="localhost")


# Whom the client trusts.


@pytest.fixture
def untrusted(certificates: Any) -> dict[str, tuple[Path, str, dict[str, str]]]:
    """A server's certificate each, the words about it, and the client's options."""
    now = dt.datetime.now(dt.UTC)
    trust = {"ca_file": str(certificates.ca_file)}
    expired = certificates.issue(
        "127.0.0.1", not_before=now - dt.timedelta(2), not_after=now - dt.timedelta(1)
    )
    future = certificates.issue(
        "127.0.0.1", not_before=now + dt.timedelta(1), not_after=now + dt.timedelta(2)
    )
    common_name = certificates.issue("server@framelet.example", common_name="localhost")
    return {
        "system": (certificates.server, "unable to get local issuer certificate", {}),
        "authority": (
            certificates.server,
            "unable to get local issuer certificate",
            {"ca_file": str(certificates.other_ca_file)},
        ),
        "expired": (expired, "certificate has expired", trust),
        "future": (future, "certificate is not yet valid", trust),
        "address": (
            certificates.issue("localhost"),
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
            trust,
        ),
        "common name": (
            common_name,
            "Hostname mismatch, certificate is not valid for 'localhost'",
            {**trust, "server_name": "localhost"},
        ),
        "name": (
            certificates.server,
            "Hostname mismatch, certificate is not valid for 'other.example'",
            {**trust, "server_name": "other.example"},
        ),
    }


@pytest.mark.req("REQ-TLS-4")
@pytest.mark.parametrize(
    "kind", ["system", "authority", "expired", "future", "address", "common name", "name"]
)
def test_a_server_that_cannot_be_trusted_is_sent_nothing(
    serve: Serve, gate: Gate, untrusted: Any, kind: str
) -> None:
    certificate, words, options = untrusted[kind]
    server = serve(gate, tls=ServerTls(certificate))
    with pytest.raises(TlsError) as caught:
        Client(str(server.address), tls=ClientTls(**options) if options else None)
    # Later versions of OpenSSL add to some of these words.
    assert caught.value.reason.startswith(f"the server's certificate is not accepted: {words}")
    assert gate.seen == []


def test_a_server_may_be_reached_by_another_name_than_its_own(serve: Serve, certificates: Any) -> None:
    server = serve(tls=ServerTls(certificates.issue("framelet.example")))
    tls = ClientTls(ca_file=certificates.ca_file, server_name="framelet.example")
    with Client(str(server.address), tls=tls) as client:
        assert client.request("ab") == "ba"


@pytest.mark.parametrize("kind", ["authority", "expired", "name"])
def test_the_command_says_why_it_does_not_trust(
    serve: Serve, commands: Callable[..., tuple[int, str, str]], untrusted: Any, kind: str
) -> None:
    certificate, words, options = untrusted[kind]
    server = serve(tls=ServerTls(certificate))
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    status, output, errors = commands(framelet, "hello", server.address, *arguments)
    assert (status, output) == (3, "")
    first, reason, _ = errors.splitlines()
    assert first == f"Couldn't get connection to {server.address}"
    assert reason == f"{server.address}: the server's certificate is not accepted: {words}"


# Whom the server trusts.


def test_a_client_with_a_certificate_is_let_in(serve: Serve, certificates: Any) -> None:
    server = serve(tls=ServerTls(certificates.server, client_ca_file=certificates.ca_file))
    own = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.guest)
    with Client(str(server.address), tls=own) as client:
        assert client.request("ab") == "ba"


@pytest.fixture
def knowing(tls: ServerTls, certificates: Any) -> ServerTls:
    """The TLS of a server that asks for certificates, by the version of ``tls``."""
    asking = ServerTls(certificates.server, client_ca_file=certificates.ca_file)
    asking._context.maximum_version = tls._context.maximum_version
    return asking


def refusal(serve: Serve, tls: ServerTls, own: ClientTls) -> str:
    """What a client is told that the server does not let in."""
    seen: list[str] = []

    def handler(text: str) -> str:
        seen.append(text)
        return text

    server = serve(handler, tls=tls)
    # By version 1.3 the client is ready before it is refused, by 1.2 it is not.
    with (
        pytest.raises((TlsError, ConnectionLostError)) as caught,
        Client(str(server.address), tls=own) as client,
    ):
        client.request("ab")
    assert seen == []
    return str(caught.value)


def test_a_client_without_a_certificate_is_told_so(
    serve: Serve, knowing: ServerTls, trusting: ClientTls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "framelet_server")
    words = refusal(serve, knowing, trusting)
    by_1_3 = knowing._context.maximum_version == ssl.TLSVersion.TLSv1_3
    assert f"refused: TLS alert '{'certificate required' if by_1_3 else 'handshake failure'}'" in words
    until(lambda: "(TLS failed: peer did not return a certificate" in caplog.text)


def test_a_client_whose_certificate_is_from_elsewhere_is_told_so(
    serve: Serve, knowing: ServerTls, certificates: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "framelet_server")
    own = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.stranger)
    assert "the server refused: TLS alert 'unknown ca'" in refusal(serve, knowing, own)
    until(lambda: "(the client's certificate is not accepted: unable to get local" in caplog.text)


@pytest.mark.req("REQ-STOP-1", "REQ-STOP-16")
def test_a_role_in_the_certificate_may_stop_the_server(
    serve: Serve, knowing: ServerTls, certificates: Any
) -> None:
    server = serve(tls=knowing, stop_policy=StopPolicy.with_certificate("operator"))
    guest = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.guest)
    with Client(str(server.address), tls=guest) as client:
        for token in ("", "operator"):  # a role is no token, and being on this machine is no role
            with pytest.raises(AnswerError) as caught:
                client.stop(token)
            assert caught.value.code == ErrorCode.STOP_REFUSED
    operator = ClientTls(ca_file=certificates.ca_file, cert_file=certificates.operator)
    with Client(str(server.address), tls=operator) as client:
        assert client.stop().cut == 0
    assert server.wait(20)


def test_a_policy_by_certificate_needs_certificates(certificates: Any) -> None:
    policy = StopPolicy.with_certificate("operator")
    for tls in (None, ServerTls(certificates.server)):
        with pytest.raises(ConfigurationError, match="needs TLS with client_ca_file"):
            Server(("127.0.0.1", 0), tls=tls, stop_policy=policy)


# Ports mixed up.


def test_a_client_without_tls_is_told_what_the_port_speaks(
    serve: Serve,
    certificates: Any,
    commands: Callable[..., tuple[int, str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "framelet_server")
    server = serve(tls=ServerTls(certificates.server))
    plain = str(server.address).replace("framelets:", "framelet:")
    with Client(plain) as client, pytest.raises(FatalAnswerError, match=r"502: this port speaks TLS"):
        client.request("secret")
    status, output, errors = commands(framelet, "send", plain, plain.rpartition(":")[2], "secret")
    assert (status, output) == (6, "")
    assert "the server ended the connection with ERROR 502: this port speaks TLS" in errors
    assert errors.endswith("\nframelets:// connects with TLS\n")
    until(lambda: caplog.text.count("it speaks Framelet without TLS, but this port expects TLS") == 2)
    assert "secret" not in caplog.text


def test_a_server_without_tls_is_found_out(
    serve: Serve, commands: Callable[..., tuple[int, str, str]], trusting: ClientTls
) -> None:
    server = serve()
    address = str(server.address).replace("framelet:", "framelets:")
    with pytest.raises(TlsError, match="the server does not speak TLS here"):
        Client(address)
    with pytest.raises(TlsError, match="the server does not speak TLS here"):
        Client(str(server.address), tls=trusting)  # asked for TLS, it does without in no case
    status, output, errors = commands(framelet, "hello", address)
    assert (status, output) == (3, "")
    assert f"{address}: the server does not speak TLS here\n" in errors


def test_a_server_that_is_silent_or_leaves_in_the_handshake_is_given_up(scripted_server: Any) -> None:
    silent = scripted_server()
    limits = ClientLimits(connect_timeout=0.2)
    with pytest.raises(TlsError, match="did not finish the handshake in time"):
        Client(f"framelets://127.0.0.1:{silent.port}", limits=limits)
    leaving = scripted_server(5, scripted_server.fin)
    with pytest.raises(TlsError, match="closed the connection during the handshake"):
        Client(f"framelets://127.0.0.1:{leaving.port}")
    resetting = scripted_server(5, scripted_server.rst)
    with pytest.raises(TlsError, match="reset by peer"):
        Client(f"framelets://127.0.0.1:{resetting.port}")


def test_a_client_that_is_refused_at_once_still_learns_why(
    serve: Serve, tls: ServerTls, trusting: ClientTls
) -> None:
    # The refusal can come in one piece with the last octets of the handshake.
    server = serve(tls=tls, max_connections=1)
    with Client(str(server.address), tls=trusting) as first:
        assert first.request("ab") == "ba"
        for _ in range(10):
            with (
                Client(str(server.address), tls=trusting) as client,
                pytest.raises(FatalAnswerError, match="ended the connection with ERROR 507"),
            ):
                client.request("ab")


@pytest.mark.parametrize("half_close", [False, True])
def test_a_client_says_good_bye(certificates: Any, trusting: ClientTls, *, half_close: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    seen: list[bytes] = []

    def serve_one() -> None:
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as sock:
            while data := sock.recv(65_536):  # raises where the end comes without close_notify
                seen.append(data)
            seen.append(b"")
            if half_close:
                sock.sendall(encode(FrameType.REPLY, b"ba"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_one)
        thread.start()
        with Client("127.0.0.1", listener.getsockname()[1], tls=trusting) as client:
            if half_close:
                [[answer]] = client.exchange(Texts(["ab"]), half_close=True)
                assert answer == "ba"
        thread.join()
    assert seen == [*([encode(FrameType.REQUEST, b"ab")] * half_close), b""]


# Drain, and reload.


@pytest.mark.req("REQ-STOP-7")
def test_a_drain_answers_all_and_then_says_good_bye(
    serve: Serve, tls: ServerTls, connect_tls: Connect, gate: Gate
) -> None:
    server = serve(gate, tls=tls, threads=2)
    idle, busy = connect_tls(server), connect_tls(server)
    busy.request("block", *map(str, range(100)))
    busy.await_receipt()
    gate.await_entry()
    server.begin_drain()
    assert idle.rest() == []
    assert idle.sock.notified
    gate.open()
    assert busy.replies(101) == ["kcolb", *(str(number)[::-1] for number in range(100))]
    assert busy.rest() == []
    assert busy.sock.notified
    idle.close()
    busy.close()
    assert server.wait(20)


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reloads_the_certificate_and_keeps_the_connections(
    command: Start, certificates: Any, connect_tls: Connect, tmp_path: Path, workers: int
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(file: Path) -> None:
        # As its tools do: whole or not at all.
        for target in (cert, key):
            draft = target.with_suffix(".new")
            draft.write_bytes(file.read_bytes())
            draft.rename(target)

    def serial(peer: Peer) -> Any:
        return peer.sock.tls.getpeercert()["serialNumber"]

    def logged(words: str) -> int:
        return sum(words in line for line in server.errors)

    install(certificates.server)
    server = command(
        "--tls-cert", str(cert), "--tls-key", str(key), "--log-level", "info", "--workers", str(workers)
    )
    address = server.address()
    assert address.startswith("framelets://127.0.0.1:")
    old = connect_tls(address)
    assert old.ask("ab") == "ba"

    install(certificates.issue("127.0.0.1"))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: logged(" reloaded\n") == workers)
    assert old.ask("still here") == "ereh llits"
    new = connect_tls(address)
    assert new.ask("ab") == "ba"
    assert serial(new) != serial(old)

    cert.write_text("no certificate")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: logged(f" cannot reload: the certificate {cert} cannot be used with the key") == workers)
    newer = connect_tls(address)
    assert serial(newer) == serial(new)
    assert [peer.ask("ab") for peer in (old, new, newer)] == ["ba"] * 3
    newer.send(encode(FrameType.STOP))
    assert newer.rest() == [Frame(FrameType.STOPPED, b"closed=2 cut=0")]
    for peer in (old, new, newer):
        peer.close()
    status, log = server.finish()
    assert status == 0
    assert "Traceback" not in log


# The command lines.


@pytest.fixture
def commands(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which is quicker: its status, and what it wrote to both outputs."""

    def run(main: Callable[[list[str]], int], *arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.req("REQ-STOP-16")
def test_the_commands_speak_tls_and_a_role_may_stop(
    command: Start, commands: Callable[..., tuple[int, str, str]], certificates: Any
) -> None:
    server = command(
        *("--tls-cert", str(certificates.server), "--tls-client-ca", str(certificates.ca_file)),
        *("--stop", "certificate", "--stop-role", "operator"),
    )
    address = server.address()
    port = address.rpartition(":")[2]
    trust = ("--ca-file", certificates.ca_file)
    guest = (*trust, "--cert-file", certificates.guest)
    operator = (*trust, "--cert-file", certificates.operator, "--key-file", certificates.operator)

    assert commands(framelet, "send", address, port, "hello", *guest) == (0, "olleh\n", "")
    # An option of TLS asks for TLS.
    assert commands(framelet, "send", "127.0.0.1", port, "hello", *guest) == (0, "olleh\n", "")
    named = commands(framelet, "send", address, port, "hello", "--server-name", "localhost", *guest)
    assert named == (0, "olleh\n", "")
    status, output, errors = commands(framelet, "stop", address, *guest)
    assert (status, output) == (6, "")
    assert "ERROR 403" in errors
    status, output, errors = commands(framelet, "stop", address, *trust)
    assert (status, output) == (3, "")
    assert errors.startswith(f"Couldn't get connection to {address}\n")
    assert "the server refused: TLS alert 'certificate required'" in errors
    stopped = commands(framelet, "stop", address, *operator)
    assert stopped == (0, "stopped: 0 other connections closed in order, 0 cut off\n", "")
    status, log = server.finish()
    assert (status, log.count("\n")) == (0, 1)
    assert log.endswith("STOP refused\n")


def test_a_server_s_options_that_do_not_go_together_are_refused(
    commands: Callable[..., tuple[int, str, str]], certificates: Any, tmp_path: Path
) -> None:
    cert, missing = certificates.server, tmp_path / "missing.pem"
    for arguments, words in [
        (("--tls-key", cert), "need --tls-cert"),
        (("--tls-client-ca", cert), "need --tls-cert"),
        (("--tls-cert", missing), f"cannot read {missing}: No such file"),
        (("--tls-cert", cert, "--tls-key", certificates.guest), "cannot be used with the key"),
        (("--tls-cert", cert, "--unix", tmp_path / "x"), "cannot have TLS"),
        (("--host", "framelets://127.0.0.1"), "framelets://127.0.0.1:6666 needs a certificate"),
        (("--stop", "certificate"), "go together"),
        (("--stop-role", "operator"), "go together"),
        (("--stop", "token", "--stop-role", "operator"), "go together"),
        (("--stop", "certificate", "--stop-role", "x", "--tls-cert", cert), "(--tls-client-ca)"),
    ]:
        status, output, errors = commands(framelet_server, *arguments)
        assert (status, output, errors.count("\n")) == (2, "", 1), errors
        assert errors.startswith("framelet-server: error: ")
        assert words in errors


def test_a_client_s_options_that_do_not_go_together_are_refused(
    commands: Callable[..., tuple[int, str, str]], certificates: Any, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pem"
    for host, arguments, words in [
        ("framelets://127.0.0.1:1", ("--ca-file", missing), f"cannot read {missing}: No such file"),
        (
            "framelets://127.0.0.1:1",
            ("--key-file", certificates.ca_file),
            "a key is given, but no certificate",
        ),
        ("127.0.0.1:1", ("--cert-file", certificates.ca_file), "cannot be used with the key"),
        ("unix:/tmp/x", ("--ca-file", certificates.ca_file), "unix:/tmp/x cannot have TLS"),
    ]:
        status, output, errors = commands(framelet, "hello", host, *arguments)
        assert (status, output, errors.count("\n")) == (2, "", 1), errors
        assert errors.startswith("framelet: error: ")
        assert words in errors


def test_an_address_of_tls_and_a_server_without_do_not_go_together() -> None:
    with pytest.raises(ConfigurationError, match="framelets://localhost:0 needs a certificate"):
        Server("framelets://localhost:0", limits=ServerLimits())
