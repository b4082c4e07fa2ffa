"""Who may stop a server: the four policies, tokens, roles, and what counts as this machine."""

from __future__ import annotations

import hmac
import ipaddress
import socket

import pytest
from tests.each import each

from framelet import ConfigurationError
from framelet_server import StopKind, StopPolicy
from framelet_server.net.peer import _host, is_local, peer_of
from framelet_server.pool.stop_policy import WrongTokens


@pytest.mark.req("REQ-STOP-2")
def test_the_policy_is_local_unless_chosen_otherwise() -> None:
    assert StopPolicy() == StopPolicy.local() == StopPolicy(StopKind.LOCAL)


@pytest.mark.req("REQ-STOP-1")
@each("token", ["", "secret", "Secret", "secret ", "secre", "\0"])
@each("local", [True, False])
def test_each_policy_decides_by_its_own_rule(token: str, *, local: bool) -> None:
    assert StopPolicy.local().allows(token, local=local) is local
    assert StopPolicy.with_token("secret").allows(token, local=local) is (token == "secret")  # noqa: S105 - a test's token
    assert StopPolicy.off().allows(token, local=local) is False
    assert StopPolicy.with_certificate("secret").allows(token, local=local) is False


@pytest.mark.req("REQ-STOP-1", "REQ-STOP-16")
@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (set(), False),
        ({"operator"}, True),
        ({"guest", "operator"}, True),
        ({"Operator"}, False),
        ({""}, False),
    ],
)
def test_a_role_counts_for_the_policy_by_certificate_alone(roles: set[str], *, expected: bool) -> None:
    assert StopPolicy.with_certificate("operator").allows("", local=False, roles=roles) is expected
    assert StopPolicy.with_token("secret").allows("", local=True, roles=roles) is False
    assert StopPolicy.off().allows("", local=True, roles=roles) is False


@pytest.mark.parametrize(
    ("kind", "role"),
    [(StopKind.CERTIFICATE, ""), (StopKind.LOCAL, "x"), (StopKind.TOKEN, "x"), (StopKind.OFF, "x")],
)
def test_a_role_and_the_policy_by_certificate_need_each_other(kind: StopKind, role: str) -> None:
    with pytest.raises(ConfigurationError):
        StopPolicy(kind, "secret" if kind is StopKind.TOKEN else "", role=role)


@pytest.mark.req("REQ-STOP-1")
def test_a_token_may_hold_any_text() -> None:
    for token in ["\0" * 6, "é€😀é€😀", " " * 6, "a\nb\r\nc", "x" * 100_000]:
        assert StopPolicy.with_token(token).allows(token, local=False)


@pytest.mark.req("REQ-STOP-4")
def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not StopPolicy.with_token("secret").allows("secret", local=True)
    assert compared == [(b"secret", b"secret")]


@pytest.mark.req("REQ-STOP-5")
@pytest.mark.parametrize(
    ("kind", "token"),
    [
        (StopKind.TOKEN, ""),
        (StopKind.TOKEN, "from an environment that is not UTF-8: \udcff"),
        (StopKind.LOCAL, "secret"),
        (StopKind.OFF, "secret"),
    ],
)
def test_a_token_that_cannot_be_used_is_refused(kind: StopKind, token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StopPolicy(kind, token)
    assert not token or token not in str(caught.value)


@pytest.mark.req("REQ-SEC-3")
def test_a_policy_does_not_show_its_token() -> None:
    assert "secret" not in repr(StopPolicy.with_token("secret"))


@pytest.mark.req("REQ-STOP-1")
@each(
    "family address expected",
    [
        (socket.AF_UNIX, "", True),
        (socket.AF_UNIX, "/run/server.sock", True),
        (socket.AF_INET, ("127.0.0.1", 1), True),
        (socket.AF_INET, ("127.255.255.254", 1), True),
        (socket.AF_INET, ("0.0.0.0", 1), False),  # noqa: S104 - nothing is bound
        (socket.AF_INET, ("192.0.2.1", 1), False),
        (socket.AF_INET, ("128.0.0.1", 1), False),
        (socket.AF_INET6, ("::1", 1, 0, 0), True),
        (socket.AF_INET6, ("::", 1, 0, 0), False),
        (socket.AF_INET6, ("2001:db8::1", 1, 0, 0), False),
        (socket.AF_INET6, ("fe80::1%eth0", 1, 0, 2), False),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 1, 0, 0), True),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 1, 0, 0), False),
    ],
)
def test_what_counts_as_this_machine(family: int, address: object, *, expected: bool) -> None:
    assert is_local(family, address) is expected


@pytest.mark.req("REQ-STOP-15")
def test_wrong_tokens_take_longer_and_longer_for_each_address() -> None:
    tokens = WrongTokens()
    waits = [tokens.wait("192.0.2.1", 0.0) for _ in range(12)]
    assert waits[:3] == [0, 0, 0]
    assert waits[3:6] == [0.1, 0.2, 0.4]
    assert waits[-1] == 2.0
    assert tokens.wait("192.0.2.2", 0.0) == 0
    assert tokens.wait("192.0.2.1", 59.0) == 2.0
    assert tokens.wait("192.0.2.1", 120.0) == 0


@pytest.mark.req("REQ-STOP-15")
def test_while_an_address_waits_none_of_its_tokens_is_looked_at() -> None:
    tokens = WrongTokens()
    for _ in range(5):
        tokens.wait("192.0.2.1", 0.0)
    assert tokens.closed("192.0.2.1", 0.05) == pytest.approx(0.15)
    assert tokens.closed("192.0.2.1", 0.2) == 0
    assert tokens.closed("192.0.2.2", 0.05) == 0


@pytest.mark.req("REQ-STOP-15")
def test_guesses_from_any_number_of_addresses_are_ten_a_second() -> None:
    tokens, looked_at, now = WrongTokens(), 0, 0.0
    for number in range(20_000):
        now = number / 1_000
        host = f"192.0.2.{number % 2_000}"
        if not tokens.closed(host, now):
            tokens.wait(host, now)
            looked_at += 1
    assert 200 <= looked_at <= 50 + 10 * now + 1


def test_only_so_many_addresses_are_remembered() -> None:
    tokens = WrongTokens()
    for _ in range(4):
        tokens.wait("old", 0.0)
    for number in range(5_000):
        tokens.wait(str(number), 1.0)
    assert len(tokens._hosts) == 1_024
    assert tokens.wait("old", 2.0) == 0


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%lo", "fe80::/64"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert peer_of(family, (address, 1)).host == host
    assert peer_of(socket.AF_UNIX, b"").host == ""


@pytest.mark.parametrize("bits", [0, 1, 48, 56, 63, 64, 65, 127, 128])
def test_the_network_of_an_address_may_have_any_number_of_bits(bits: int) -> None:
    ip = ipaddress.IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    assert _host(ip, bits) == str(ipaddress.ip_network(f"{ip}/{bits}", strict=False))
    assert _host(ipaddress.IPv4Address("192.0.2.1"), bits) == "192.0.2.1"
