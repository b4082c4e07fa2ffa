"""The tree of errors: what catches what, and one class for each condition of the registry."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import (
    AnswerTimeoutError,
    ConfigurationError,
    ConnectionStateError,
    ErrorCode,
    ErrorReceivedError,
    FrameletError,
    FrameTooLargeError,
    HandlerError,
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
    others |= {
        "AddressError",
        "AnswerTimeoutError",
        "HandlerError",
        "HeaderRefusedError",
        "MissingExtraError",
    }
    assert set(CLASSES) == set(CODES) | others


@each("cls", CLASSES.values())
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


def test_a_handlers_error_has_a_recoverable_code_and_words() -> None:
    error = HandlerError(462, "no such room")
    assert (error.code, error.text, str(error)) == (462, "no such room", "462 no such room")
    assert str(HandlerError(404)) == "404 no handler is registered for the application type"
    wrong: list[tuple[Any, ...]] = [("462",), (True,), (462, b"x"), (399,), (500,), (600,)]
    for arguments in wrong:
        with pytest.raises((TypeError, ValueError), match=r"\bnot\b"):
            HandlerError(*arguments)


def test_a_missing_package_names_the_extra_and_another_does_not() -> None:
    def fail(name: str) -> None:
        with errors.importing_extra("cli", "click", "the command line needs"):
            raise ModuleNotFoundError(name=name)

    for name in ("click", "click.types"):
        with pytest.raises(MissingExtraError) as raised:
            fail(name)
        assert str(raised.value) == f'the command line needs the extra "cli": {errors.install_command("cli")}'
    for name in ("clicker", "framelet_client.cli"):
        with pytest.raises(ModuleNotFoundError):
            fail(name)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'framelet[cli]'"),
        ('{"url": "file:///a%20b", "dir_info": {"editable": true}}', "pip install -e '/a b[cli]'"),
        ('{"url": "file:///a", "dir_info": {}}', "pip install 'framelet[cli] @ file:///a'"),
        ('{"url": "file:///f.whl", "archive_info": {}}', "pip install 'framelet[cli] @ file:///f.whl'"),
        (
            '{"url": "https://h/r", "vcs_info": {"vcs": "git", "commit_id": "12"}}',
            "pip install 'framelet[cli] @ git+https://h/r@12'",
        ),
        ("{", "pip install 'framelet[cli]'"),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came_from(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, command: str
) -> None:
    # All of it: a library that another test has loaded may bring distributions of its own.
    monkeypatch.setattr(metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: origin))
    assert errors.install_command("cli") == command


def every_error() -> list[type[Exception]]:
    """The classes of errors that the packages of the distribution define."""
    found: set[type[Exception]] = {FrameletError}
    for package in ("framelet", "framelet_server", "framelet_client"):
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    while more := {below for cls in found for below in cls.__subclasses__()} - found:
        found |= more
    ours = {cls for cls in found if cls.__module__.startswith("framelet")}  # and not those of other tests
    return sorted(ours - {ProtocolError}, key=lambda cls: cls.__name__)


@each("twin", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 - its own
def test_every_error_can_be_copied_and_pickled(twin: Callable[[Exception], Exception]) -> None:
    for cls in every_error():
        parameters = [
            each
            for each in list(inspect.signature(cls.__init__).parameters.values())[1:]
            if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        error = cls(*(462 if each.annotation == "int" else "x" for each in parameters))
        found = twin(error)
        assert (type(found), found.args, str(found)) == (cls, error.args, str(error))
        assert vars(found) == vars(error), cls
