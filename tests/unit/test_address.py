"""The forms in which people write an address, all of them combined, and those that are refused."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from tests.each import each

from framelet import Address, AddressError, TcpAddress, TlsAddress, UnixAddress, parse_address
from framelet.address import names_port, parse_port, without_password

SCHEMES = ["", "framelet://", "tcp://", "http://", "FRAMELET://"]
HOSTS = {
    "localhost": "localhost",
    "a.example-1.org": "a.example-1.org",
    "127.0.0.1": "127.0.0.1",
    "[::1]": "::1",
    "[fe80::1%eth0]": "fe80::1%eth0",
    "[2001:db8::7]": "2001:db8::7",
}
PORTS = {"": None, ":0": 0, ":1": 1, ":6666": 6666, ":65535": 65535, ":0080": 80}
FORMS = list(itertools.product(SCHEMES, HOSTS, PORTS, ["", "/"]))


@each("scheme host port end", FORMS)
def test_every_form_of_an_internet_address(scheme: str, host: str, port: str, end: str) -> None:
    own = PORTS[port]
    text = scheme + host + port + end
    assert parse_address(text) == TcpAddress(HOSTS[host], 6666 if own is None else own)
    assert parse_address(text, own) == parse_address(text)
    if own is None:
        assert parse_address(text, 0) == TcpAddress(HOSTS[host], 0)
        assert parse_address(text, 7000) == TcpAddress(HOSTS[host], 7000)
    else:
        with pytest.raises(AddressError, match=f"names port {own}, but port 7000 is given"):
            parse_address(text, 7000)


@each("scheme", ["framelets://", "FRAMELETS://"])
@each("host port", list(itertools.product(HOSTS, PORTS)))
def test_a_scheme_of_its_own_says_that_tls_is_spoken(scheme: str, host: str, port: str) -> None:
    own = PORTS[port]
    address = parse_address(scheme + host + port)
    assert address == TlsAddress(HOSTS[host], 6666 if own is None else own)
    assert parse_address(str(address)) == address
    plain: object = TcpAddress(HOSTS[host], 6666 if own is None else own)
    assert address != plain


@pytest.mark.parametrize("literal", ["::1", "::", "2001:db8::7", "fe80::1%eth0", "::ffff:127.0.0.1"])
def test_an_ipv6_literal_needs_no_brackets_without_a_port(literal: str) -> None:
    assert parse_address(literal) == TcpAddress(literal, 6666)
    assert parse_address(literal, 80) == TcpAddress(literal, 80)


ADDRESSES = [TcpAddress("localhost", 1), TcpAddress("::1", 2), TlsAddress("127.0.0.1", 3), UnixAddress("/x")]


@pytest.mark.parametrize("address", [*ADDRESSES, ("localhost", 1), ("framelets://localhost", 65_535)])
def test_what_a_program_has_is_an_address(address: Any) -> None:
    read = parse_address(address)
    assert read == parse_address(str(read))
    if not isinstance(read, UnixAddress):
        assert parse_address(address, read.port) == read
        with pytest.raises(AddressError, match="names port"):
            parse_address(address, 7000)


NO_PORTS: list[Any] = [-1, 65_536, 10**30, True, False, 1.0, "80", b"80"]


@pytest.mark.parametrize("port", NO_PORTS)
def test_a_port_is_a_number_in_its_range(port: Any) -> None:
    with pytest.raises(AddressError, match="is not a port: expected a number from 0 to 65535"):
        parse_address("localhost", port)
    with pytest.raises(AddressError, match="is not a port: expected a number from 0 to 65535"):
        parse_address(("localhost", port))


@pytest.mark.parametrize("text", [None, 5, b"localhost", ["a", 1], (), ("a", 1, 2), (None, 1)])
def test_what_is_no_text_is_no_address(text: Any) -> None:
    with pytest.raises(AddressError, match="is not an address"):
        parse_address(text)


@pytest.mark.parametrize("path", ["/run/framelet.sock", "relative", "with space", "a:b", "//x", "é", "[x]"])
def test_a_unix_address_is_its_path(path: str) -> None:
    assert parse_address(f"unix:{path}") == UnixAddress(path)
    assert parse_address(f"unix:{path}", 80) == UnixAddress(path)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (TcpAddress("localhost", 1), "framelet://localhost:1"),
        (TcpAddress("127.0.0.1", 6666), "framelet://127.0.0.1:6666"),
        (TcpAddress("::1", 6666), "framelet://[::1]:6666"),
        (TlsAddress("localhost", 1), "framelets://localhost:1"),
        (TlsAddress("::1", 6666), "framelets://[::1]:6666"),
        (UnixAddress("/run/x"), "unix:/run/x"),
        (UnixAddress("a b:c"), "unix:a b:c"),
    ],
)
def test_an_address_is_printed_in_the_form_that_is_read(address: Address, text: str) -> None:
    assert str(address) == text
    assert parse_address(text) == address


NONE = [
    *("/", ":", ":80", "framelet://", "framelet:///path", "framelets://", "framelets:///path"),
    *("tls://host", "unix:", "ftp://host", "https://host", "host:", "host:x", "host:-1", "host:+1"),
    *("host:65536", "host:99999999999999999999", "host:1_0", "host//", "host/path", "host:80/path"),
    *("host?query", "host#part", "user@host", "host:80:90", "a:b:c", "1:2:3:x", "[]", "[]:80", "[::1"),
    *("::1]", "[::1]x", "[::1]:", "[::1]:x", "[::1]:65536", "[[::1]]", "[localhost]", "[127.0.0.1]"),
    *("[::1]:80:90", "[::1%]", "[fe80::1%a/b]:80", "[fe80::1%a b]", "fe80::1%a\0", "fe80::1%\n"),
    *("", "a b", "a\nb", "a\0b", " host", "unix:a\0b", "host: 1", "host:1 ", "host:\u0661"),
    "host:" + "1" * 5_000,
]


@each("text", NONE)
def test_other_forms_are_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65535), ("0080", 80)])
def test_a_port_is_a_number_up_to_65535(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "65536", "\u0661", "1_0", " 1", "0x1", "\u00b2"])
def test_another_port_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="expected a number from 0 to 65535"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [("host", False), ("framelet://[::1]", False), ("host:1", True), ("[::1]:1", True), ("unix:/x", True)],
)
def test_an_address_says_everything_or_not(text: str, *, names: bool) -> None:
    assert names_port(text) is names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("framelet://me:secret@host:1", "cannot have a user or a password: expected 'framelet://host:1'"),
        ("me@host", "cannot have a user or a password: expected 'host'"),
        ("/run/x", "for a unix socket expected 'unix:/run/x'"),
        ("HTTPS://host/path", "'https://host' has the scheme https"),
        ("host/a/b", "an address cannot have a path: expected 'host'"),
    ],
)
def test_what_is_too_much_is_explained_and_no_secret_shown(text: str, words: str) -> None:
    with pytest.raises(AddressError, match=re.escape(words)) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value)


def test_a_text_is_shown_without_passwords() -> None:
    assert without_password("to http://me:secret@a and b://c@d:1/e@f") == "to http://a and b://d:1/e@f"
