"""The tree of errors: what catches what, and one class for each condition of the registry."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from typing import TYPE_CHECKING

import pytest

from framelet import (
    AnswerTimeoutError,
    ConfigurationError,
    ConnectionStateError,
    ErrorCode,
    ErrorReceivedError,
    FrameletError,
    FrameTooLargeError,
    MissingExtraError,
    ProtocolError,
    UnexpectedTypeError,
    errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == errors.__name__
}

CODES = {
    "UnknownTypeError": 501,
    "UnexpectedTypeError": 502,
    "FrameTooLargeError": 503,
    "FrameTimeoutError": 504,
    "IdleTimeoutError": 505,
    "TruncatedFrameError": 506,
    "IllFormedTextError": 400,
    "PingTooLargeError": 413,
    "HelloMalformedError": 422,
    "VersionUnsupportedError": 426,
    "AnswerMalformedError": 508,
    "ErrorReceivedError": 502,
}

# Conditions of the answering end, its program included; they are sent by their code.
OF_THE_PROGRAM = {500, 507, 509, 404, 403, 450, 451}


def test_the_tree_is_complete() -> None:
    others = {"FrameletError", "ConfigurationError", "ConnectionStateError", "ProtocolError"}
    others |= {"AddressError", "AnswerTimeoutError", "MissingExtraError"}
    assert set(CLASSES) == set(CODES) | others


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_every_error_has_the_same_root_and_its_name_says_error(cls: type[Exception]) -> None:
    assert issubclass(cls, FrameletError)
    assert cls.__name__.endswith("Error")


def test_errors_can_be_caught_as_what_python_calls_them() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(errors.AddressError, ValueError)
    assert issubclass(ConnectionStateError, RuntimeError)
    assert issubclass(AnswerTimeoutError, TimeoutError)
    assert not issubclass(AnswerTimeoutError, ProtocolError)  # silence breaks no rule


@pytest.mark.req("REQ-ERROR-2")
def test_every_protocol_error_has_the_code_of_its_condition() -> None:
    found = {
        name: int(cls.code)
        for name, cls in CLASSES.items()
        if issubclass(cls, ProtocolError) and cls is not ProtocolError
    }
    assert found == CODES


@pytest.mark.req("REQ-ERROR-2")
def test_every_condition_has_one_class_or_is_left_to_the_program() -> None:
    assert {*CODES.values(), *OF_THE_PROGRAM} == set(ErrorCode)
    assert not OF_THE_PROGRAM & set(CODES.values())
    # Two classes share 502, because an ERROR is never answered by an ERROR.
    assert len(CODES) == len(set(CODES.values())) + 1
    assert not issubclass(ErrorReceivedError, UnexpectedTypeError)


@pytest.mark.parametrize("name", [name for name in CODES if name != "FrameTooLargeError"])
def test_a_protocol_error_without_words_takes_those_of_the_registry(name: str) -> None:
    cls = CLASSES[name]
    assert str(cls()) == next(code.condition for code in ErrorCode if code == CODES[name])
    assert str(cls("in other words")) == "in other words"


def test_a_frame_too_large_keeps_its_header() -> None:
    error = FrameTooLargeError(0xC0, 70_000, 65_536)
    assert (error.type, error.length) == (0xC0, 70_000)
    assert str(error) == "a body of 70000 octets exceeds the maximum of 65536"


def test_a_missing_package_names_the_extra_and_another_does_not() -> None:
    def fail(name: str) -> None:
        with errors.importing_extra("cli", "click", "the command line needs"):
            raise ModuleNotFoundError(name=name)

    for name in ("click", "click.types"):
        with pytest.raises(MissingExtraError) as raised:
            fail(name)
        assert str(raised.value) == """the command line needs the extra "cli": pip install 'framelet[cli]'"""
    for name in ("clicker", "framelet_client.cli"):
        with pytest.raises(ModuleNotFoundError):
            fail(name)


def every_error() -> list[type[Exception]]:
    """The classes of errors that the packages of the distribution define."""
    found: set[type[Exception]] = {FrameletError}
    for package in ("framelet", "framelet_server", "framelet_client"):
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    while more := {below for cls in found for below in cls.__subclasses__()} - found:
        found |= more
    return sorted(found - {ProtocolError}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "twin",
    [copy.copy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301 - our own
    ids=["copy", "pickle"],
)
def test_every_error_can_be_copied_and_pickled(
    cls: type[Exception], twin: Callable[[Exception], Exception]
) -> None:
    parameters = [
        each
        for each in list(inspect.signature(cls.__init__).parameters.values())[1:]
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    error = cls(*(1 if each.annotation == "int" else "x" for each in parameters))
    found = twin(error)
    assert (type(found), found.args, str(found), vars(found)) == (cls, error.args, str(error), vars(error))
