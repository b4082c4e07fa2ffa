"""TLS below the frames, without sockets: both ends of it, whatever way their octets are cut."""

from __future__ import annotations

import gc
import os
import pickle
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError, Frame, FrameDecoder, FrameType, encode
from framelet.registry import ALPN
from framelet.tls import KeptFile
from framelet_client import ClientTls
from framelet_server import ServerTls
from framelet_server.net.peer import Peer
from framelet_server.net.transport import LayerError

if TYPE_CHECKING:
    from framelet_client.tls import ClientTlsLayer
    from framelet_server.layers.tls import ServerTlsLayer

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
PEER = Peer("127.0.0.1:1", "127.0.0.1", local=True)


def pair(certificates: Any, version: Any = None, **client: Any) -> tuple[ClientTlsLayer, ServerTlsLayer]:
    """Both ends, before their handshake; the server knows its clients where the client has a certificate."""
    tls = ServerTls(
        certificates.server, client_ca_file=certificates.ca_file if "cert_file" in client else None
    )
    if version is not None:
        tls._context.maximum_version = version
    return ClientTls(ca_file=certificates.ca_file, **client).layer("localhost"), tls.layer()


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[start : start + step] for start in range(0, len(data), step)]


def shake_hands(client: ClientTlsLayer, server: ServerTlsLayer, step: int = 65_536) -> None:
    assert client.receive(b"") == b""
    while not (client.established and server.established):
        for data in cut(b"".join(client.send([])), step):
            assert server.receive(data) == b""
        for data in cut(b"".join(server.send([])), step):
            assert client.receive(data) == b""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, 7, 65_536])
def test_octets_may_be_cut_anywhere(certificates: Any, version: Any, step: int) -> None:
    client, server = pair(certificates, version)
    shake_hands(client, server, step)
    sent = b"question" * 300
    assert b"".join(server.receive(data) for data in cut(b"".join(client.send([sent])), step)) == sent
    answer = b"".join(server.send([b"answer", sent]))
    assert b"".join(client.receive(data) for data in cut(answer, step)) == b"answer" + sent
    assert client._tls.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert client._tls.selected_alpn_protocol() == ALPN == "framelet/1"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.req("REQ-TLS-3")
def test_answers_come_behind_the_client_s_end(certificates: Any, version: Any) -> None:
    client, server = pair(certificates, version)
    shake_hands(client, server)
    assert server.receive(b"".join(client.send([b"last"])) + client.end()) == b"last"
    assert server.ended
    assert client.receive(b"".join(server.send([b"answer" * 9_999]))) == b"answer" * 9_999
    assert not client.ended
    assert client.receive(server.end()) == b""
    assert client.ended


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 1_000_000])
def test_what_is_sent_comes_in_pieces_that_keep_memory_small(certificates: Any, size: int) -> None:
    client, server = pair(certificates)
    shake_hands(client, server)
    body = bytes(size)
    pieces = server.send([body])
    assert all(0 < len(piece) < 20_000 for piece in pieces)
    assert sum(map(len, pieces)) <= size * 1.01 + 30
    assert client.receive(b"".join(pieces)) == body
    assert server.receive(b"".join(client.send([body]))) == body
    assert server.send([]) == []


def test_what_is_short_costs_two_python_calls_in_each_direction(certificates: Any) -> None:
    client, server = pair(certificates)
    shake_hands(client, server)
    question, calls = b"".join(client.send([b"question"])), 0

    def count(_: object, kind: str, __: object) -> None:
        nonlocal calls
        calls += kind == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        text = server.receive(question)
        answer = server.send([b"answer"])
    finally:
        sys.setprofile(before)
    assert (text, client.receive(b"".join(answer))) == (b"question", b"answer")
    assert calls <= 4  # the layer's own, and one of the standard library for each record


def test_an_end_can_be_asked_for_at_any_time(certificates: Any) -> None:
    client, server = pair(certificates)
    assert server.end() == b""
    assert client.end() == b""
    client, server = pair(certificates)
    shake_hands(client, server)
    with pytest.raises(LayerError):
        server.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
    server.end()
    server.end()


def test_a_record_that_was_tampered_with_is_an_error_and_nothing_of_it_is_taken(certificates: Any) -> None:
    client, server = pair(certificates)
    shake_hands(client, server)
    data = bytearray(b"".join(client.send([b"question"])))
    data[-1] ^= 1
    with pytest.raises(LayerError, match=r"^TLS failed: .*(bad record mac|record layer failure)"):
        server.receive(bytes(data))
    data = bytearray(b"".join(pair_of_answers(certificates)[1]))
    data[-1] ^= 1
    with pytest.raises(OSError, match=r"TLS failed"):
        pair_of_answers(certificates)[0].receive(bytes(data))


def pair_of_answers(certificates: Any) -> tuple[ClientTlsLayer, list[bytes]]:
    client, server = pair(certificates)
    shake_hands(client, server)
    return client, server.send([b"answer"])


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (encode(FrameType.REQUEST, b"hello"), "it speaks Framelet without TLS"),
        (b"\x03", "it speaks Framelet without TLS"),
        (b"GET / HTTP/1.1\r\n", "it speaks HTTP, or the like"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "it speaks HTTP, or the like"),
        (b"\x80\x2e\x01\x00\x02", "it speaks another protocol"),
        (b"\x00", "it speaks another protocol"),
    ],
)
def test_a_client_without_tls_is_told_in_words_that_it_understands(
    certificates: Any, first: bytes, words: str
) -> None:
    _, server = pair(certificates)
    with pytest.raises(LayerError, match=f"^{words}, but this port expects TLS$"):
        server.receive(first)
    decoder = FrameDecoder(1_024)
    decoder.receive_data(b"".join(server.send([])))
    assert decoder.next_frame() == Frame(FrameType.ERROR, b"502 this port speaks TLS")


@pytest.mark.parametrize("first", [encode(FrameType.ERROR, b"507 full"), b"HTTP/1.1 400\r\n", b"\0"])
def test_a_server_without_tls_is_seen_at_its_first_octet(certificates: Any, first: bytes) -> None:
    client, _ = pair(certificates)
    client.receive(b"")
    with pytest.raises(OSError, match="does not speak TLS here"):
        client.receive(first)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_roles_are_the_organizational_units_of_a_verified_certificate(
    certificates: Any, version: Any
) -> None:
    client, server = pair(certificates, version, cert_file=certificates.operator)
    shake_hands(client, server)
    known = server.identify(PEER)
    assert (known.roles, known.name) == (frozenset({"operator"}), PEER.name)
    client, server = pair(certificates, version)  # one that is not asked for a certificate
    shake_hands(client, server)
    assert server.identify(PEER) == PEER


def test_what_openssl_would_do_by_default_is_switched_off(certificates: Any) -> None:
    for context in (
        ServerTls(certificates.server)._context,
        ClientTls(ca_file=certificates.ca_file)._context,
    ):
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    client = ClientTls()._context
    assert (client.verify_mode, client.check_hostname) == (ssl.CERT_REQUIRED, True)


# Files.


def encrypted_key(folder: Path, certificates: Any) -> Path:
    """The server's key again, with a passphrase."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - comes with trustme

    key = serialization.load_pem_private_key(certificates.server.read_bytes(), None)
    path = folder / "encrypted.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    return path


def test_wrong_files_are_named_with_what_is_wrong(certificates: Any, tmp_path: Path) -> None:
    missing, empty, folder = tmp_path / "missing.pem", tmp_path / "empty.pem", tmp_path
    empty.touch()
    locked = encrypted_key(tmp_path, certificates)
    for given, words in [
        ((missing, None), f"cannot read {missing}: No such file"),
        ((folder, None), f"cannot read {folder}: Is a directory"),
        ((certificates.server, missing), f"cannot read {missing}: No such file"),
        ((empty, None), f"{empty} cannot be used with the key {empty}"),
        ((certificates.server, empty), f"with the key {empty}"),
        ((certificates.server, certificates.guest), f"with the key {certificates.guest}: .*mismatch"),
        ((certificates.server, locked), "the key has a passphrase: expected one without"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            ServerTls(*given)
        with pytest.raises(ConfigurationError, match=words):
            ClientTls(cert_file=given[0], key_file=given[1])
    for file, words in [(missing, "No such file"), (empty, "holds no certificate: expected PEM")]:
        with pytest.raises(ConfigurationError, match=words):
            ServerTls(certificates.server, client_ca_file=file)
        with pytest.raises(ConfigurationError, match=words):
            ClientTls(ca_file=file)


@pytest.mark.parametrize("name", ["", ".example", "a" * 300, "a\0b"])
def test_a_name_that_no_certificate_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a host name or an IP address"):
        ClientTls(server_name=name).layer("localhost")


def test_a_key_without_a_certificate_is_refused(certificates: Any) -> None:
    with pytest.raises(ConfigurationError, match="a key is given, but no certificate"):
        ClientTls(key_file=certificates.guest)


def test_the_scope_of_an_address_is_no_part_of_its_name(certificates: Any) -> None:
    layer = ClientTls(ca_file=certificates.ca_file).layer("fe80::1%eth0")
    assert layer._tls.server_hostname == "fe80::1"


def test_a_reload_changes_what_new_clients_see_and_bad_files_change_nothing(
    certificates: Any, tmp_path: Path
) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(certificates.server.read_bytes())
    tls = ServerTls(file)

    def serial() -> Any:
        client = ClientTls(ca_file=certificates.ca_file).layer("localhost")
        shake_hands(client, tls.layer())
        return (client._tls.getpeercert() or {})["serialNumber"]

    first = serial()
    file.write_bytes(certificates.issue("localhost").read_bytes())
    assert serial() == first
    tls.reload()
    second = serial()
    assert second != first
    for bad in (b"", b"no PEM", certificates.ca_file.read_bytes()):
        file.write_bytes(bad)
        with pytest.raises(ConfigurationError, match=f"the certificate {file} cannot be used"):
            tls.reload()
        assert serial() == second
    file.unlink()
    with pytest.raises(ConfigurationError, match=f"^cannot read {file}: No such file or directory$"):
        tls.reload()
    assert serial() == second


def test_authorities_that_are_gone_at_a_reload_are_named(certificates: Any, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ca_file.read_bytes())
    tls = ServerTls(certificates.server, client_ca_file=file)
    file.unlink()
    with pytest.raises(ConfigurationError, match=f"^cannot read {file}: No such file or directory$"):
        tls.reload()


@pytest.mark.parametrize("name", ["/dev/zero", "/", "/dev/fd/1000", "no such file"])
def test_what_cannot_be_read_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^cannot read {name}: [A-Zi]"):
        KeptFile(name)


@pytest.mark.parametrize("regular", [False, True])
def test_what_may_be_there_once_is_kept(tmp_path: Path, *, regular: bool) -> None:
    reader, writer = os.pipe()
    if regular:
        os.close(reader)
        os.close(writer)
        reader, writer = (os.open(tmp_path / "file", how) for how in (os.O_CREAT, os.O_WRONLY))
    os.write(writer, b"content")
    os.close(writer)
    file = KeptFile(f"/dev/fd/{reader}")
    os.close(reader)
    again = pickle.loads(pickle.dumps(file))  # noqa: S301 - our own
    for one in (file, again, KeptFile.of(file), KeptFile("text", b"content")):
        assert (Path(one).read_bytes(), one.kept) == (b"content", True)


def test_the_largest_file_that_is_kept_has_16_mib() -> None:
    assert KeptFile("text", bytes(16_777_216)).kept
    with pytest.raises(ConfigurationError, match=r"^cannot read text: it has more than 16777216 octets$"):
        KeptFile("text", bytes(16_777_217))


def test_a_kept_file_closes_its_descriptor_when_it_is_gone() -> None:
    file = KeptFile("text", b"content")
    number = file.descriptor
    assert number is not None
    del file
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_system_without_files_in_memory_keeps_them_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    file = KeptFile("text", b"content")
    path = Path(file)
    assert (path.read_bytes(), file.descriptor) == (b"content", None)
    del file
    gc.collect()
    assert not path.exists()
