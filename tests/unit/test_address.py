"""The forms in which people write an address, all of them combined, and those that are refused."""

from __future__ import annotations

import itertools

import pytest

from framelet import Address, AddressError, TcpAddress, TlsAddress, UnixAddress, parse_address
from framelet.address import parse_port

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


@pytest.mark.parametrize(("scheme", "host", "port", "end"), FORMS, ids=["".join(form) for form in FORMS])
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


@pytest.mark.parametrize("scheme", ["framelets://", "FRAMELETS://"])
@pytest.mark.parametrize(("host", "port"), list(itertools.product(HOSTS, PORTS)))
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":",
        ":80",
        "framelet://",
        "framelet:///path",
        "framelets://",
        "framelets:///path",
        "tls://host",
        "unix:",
        "unix:a\0b",
        "ftp://host",
        "https://host",
        "host:",
        "host:x",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:1 ",
        "host:65536",
        "host:99999999999999999999",
        "host:\u0661",
        "host:1_0",
        "host//",
        "host/path",
        "host:80/path",
        "host?query",
        "host#part",
        "user@host",
        "a b",
        "a\nb",
        "a\0b",
        " host",
        "[]",
        "[]:80",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:",
        "[::1]:x",
        "[::1]:65536",
        "[[::1]]",
        "[localhost]",
        "[127.0.0.1]",
        "[::1]:80:90",
        "[::1%]",
        "[fe80::1%a/b]:80",
    ],
)
def test_other_forms_are_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert "expected" in str(caught.value)


def test_a_port_of_very_many_digits_is_refused_like_any_other() -> None:
    with pytest.raises(AddressError):
        parse_address("host:" + "1" * 5_000)


@pytest.mark.parametrize("text", ["host:80:90", "a:b:c", "1:2:3:x"])
def test_a_host_with_colons_that_is_no_ipv6_literal_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize("text", ["[fe80::1%a b]", "fe80::1%a\0", "fe80::1%\n"])
def test_a_scope_is_checked_as_a_name_is(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("65535", 65535), ("0080", 80)])
def test_a_port_is_a_number_up_to_65535(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "65536", "\u0661", "1_0", " 1", "0x1", "\u00b2"])
def test_another_port_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="expected a number from 0 to 65535"):
        parse_port(text)
