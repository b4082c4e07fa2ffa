"""The limits: the values that the specification fixes, and the checks on those that may be chosen."""

from __future__ import annotations

import dataclasses
import math

import pytest
from tests.each import each

from framelet import ConfigurationError, ConnectionLimits, limits
from framelet.limits import without_unit
from framelet_client import ClientLimits
from framelet_server import ServerLimits

LimitsType = type[ConnectionLimits | ServerLimits | ClientLimits]
CLASSES: list[LimitsType] = [ConnectionLimits, ServerLimits, ClientLimits]
FIELDS = [(cls, info) for cls in CLASSES for info in cls.describe()]
each_field = pytest.mark.parametrize(
    ("cls", "info"), FIELDS, ids=[f"{cls.__name__}-{info.name}" for cls, info in FIELDS]
)

UNITS = {"octets", "octets/second", "seconds", "threads", "connections", "frames", "answers"}


@pytest.mark.req("REQ-FRAME-2", "REQ-SIZE-1", "REQ-SIZE-3", "REQ-PING-2", "REQ-HELLO-3", "REQ-ERROR-14")
def test_the_protocol_fixes_these() -> None:
    assert limits.MAX_LENGTH == 2**32 - 1
    assert limits.MIN_MAX_BODY == 65_536
    assert limits.DEFAULT_MAX_BODY == 16_777_216
    assert (limits.MAX_PING_BODY, limits.MAX_HELLO_BODY, limits.MAX_ERROR_BODY) == (64, 1_024, 1_024)


@pytest.mark.req("REQ-SIZE-1", "REQ-SIZE-3")
@pytest.mark.parametrize("cls", CLASSES)
def test_no_maximum_body_size_is_below_what_every_receiver_accepts(cls: LimitsType) -> None:
    assert cls().max_body == 16_777_216
    assert cls(max_body=65_536).max_body == 65_536
    assert cls(max_body=2**32 - 1).max_body == 2**32 - 1
    for size in (65_535, 2**32):
        with pytest.raises(ConfigurationError, match="expected 65536 to 4294967295 octets"):
            cls(max_body=size)


@each("cls info", FIELDS)
def test_each_default_is_in_its_range_and_of_its_kind(cls: LimitsType, info: limits.LimitInfo) -> None:
    value = getattr(cls(), info.name)
    assert value == info.default
    assert info.fault(value) == ""
    assert type(value) is info.kind
    assert info.minimum <= value <= info.maximum


@each("cls info", FIELDS)
def test_each_range_includes_its_ends_and_nothing_beyond(cls: LimitsType, info: limits.LimitInfo) -> None:
    for end in (info.minimum, info.maximum):
        assert getattr(cls().replace(**{info.name: end}), info.name) == end
    step = 1 if info.kind is int else 1e-6
    for beyond in (info.minimum - step, info.maximum + step, -info.maximum):
        with pytest.raises(ConfigurationError, match=f"{info.name} is .* {info.unit}"):
            cls().replace(**{info.name: beyond})


@each("cls info", FIELDS)
@each("value", ["1", None, True, b"1", [1]])
def test_each_limit_refuses_what_is_no_number(cls: LimitsType, info: limits.LimitInfo, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{info.name} is .*: expected a number of {info.unit}"):
        cls(**{info.name: value})  # type: ignore[arg-type] # the wrong kind is the point


@each("cls info", FIELDS)
def test_each_limit_refuses_a_number_of_the_wrong_kind(cls: LimitsType, info: limits.LimitInfo) -> None:
    if info.kind is int:
        with pytest.raises(ConfigurationError):
            cls().replace(**{info.name: float(info.default)})
    else:
        assert getattr(cls().replace(**{info.name: 1}), info.name) == 1  # whole seconds need no point
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ConfigurationError):
                cls().replace(**{info.name: value})


@each("cls info", FIELDS)
def test_each_limit_is_described_for_people(cls: LimitsType, info: limits.LimitInfo) -> None:
    assert info.purpose
    assert info.why
    assert info.unit in UNITS
    assert info.option == f"--{info.name.replace('_', '-')}"
    assert [field.name for field in dataclasses.fields(cls)] == [info.name for info in cls.describe()]


def test_replace_checks_and_leaves_the_original() -> None:
    first = ServerLimits(threads=2)
    second = first.replace(max_body=65_536)
    assert (first.max_body, second.max_body, second.threads) == (16_777_216, 65_536, 2)
    assert type(second) is ServerLimits
    with pytest.raises(ConfigurationError):
        first.replace(threads=0)


@pytest.mark.parametrize("cls", CLASSES)
def test_limits_do_not_change_once_made(cls: LimitsType) -> None:
    made = cls()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.max_body = 65_536  # type: ignore[misc] # the refusal is the point
    assert cls() == made
    assert hash(cls()) == hash(made)


def test_the_limits_of_a_server_hold_for_its_connections() -> None:
    shared = {info.name: info for info in ConnectionLimits.describe()}
    assert shared.items() <= {info.name: info for info in ServerLimits.describe()}.items()


def test_an_option_says_what_the_limit_says() -> None:
    (info,) = (info for info in ClientLimits.describe() if info.name == "max_body")
    assert info.option == "--max-body"
    assert info.option_settings() == {
        "type": int,
        "default": 16_777_216,
        "show_default": True,
        "metavar": "OCTETS",
        "help": "Largest body accepted or sent.",
    }


@pytest.mark.parametrize(
    ("text", "octets", "seconds"),
    [
        ("16M", "16777216", "960"),
        ("1.5k", "1536", "1.5k"),
        ("64KiB", "65536", "64KiB"),
        ("250ms", "250ms", "0.25"),
        ("2h", "2h", "7200"),
        ("5 m", "5 m", "5 m"),
        ("1e3", "1e3", "1e3"),
        ("-1s", "-1s", "-1s"),
        ("7", "7", "7"),
        ("", "", ""),
    ],
)
def test_a_suffix_is_a_factor(text: str, octets: str, seconds: str) -> None:
    assert (without_unit(text, "octets"), without_unit(text, "seconds")) == (octets, seconds)
    assert without_unit(text, "threads") == text
