"""What may be a handler is seen before the server starts, and what it is called tells no secret."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from framelet import ConfigurationError
from framelet_server import Server
from framelet_server.service.handlers import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def coroutine(text: str) -> str:
    return text


async def generated(text: str) -> AsyncIterator[str]:
    yield text


def generator(text: str) -> Iterator[str]:
    yield text


def of_two(text: str, more: str) -> str:
    return text + more


def of_a_keyword(text: str, *, password: str) -> str:
    return text + password


class AsyncCall:
    async def __call__(self, text: str) -> str:
        return text


class NoCall:
    def __repr__(self) -> str:
        return "hunter2"


class Called(NoCall):
    def __call__(self, text: str) -> str:
        return text


class OfText(NoCall):
    def __init__(self, text: str) -> None: ...


WRONG: dict[str, tuple[Any, str]] = {
    "coroutine": (coroutine, "coroutine is no handler: it is async, or a generator"),
    "asynchronous generator": (generated, "generated is no handler: it is async"),
    "generator": (generator, "generator is no handler"),
    "part of a coroutine": (functools.partial(functools.partial(coroutine)), "coroutine is no handler"),
    "asynchronous object": (AsyncCall(), "AsyncCall is no handler: it is async"),
    "two parameters": (of_two, "it cannot be called with one text: missing a required argument: 'more'"),
    "none": (lambda: "", "it cannot be called with one text: too many positional arguments"),
    "a keyword": (of_a_keyword, "missing a required.*argument: 'password'"),
    "class": (NoCall, "NoCall is no handler: to call the class makes an object, and no text"),
    "class that takes a text": (functools.partial(OfText), "OfText is no handler: to call the class"),
    "object": (NoCall(), "NoCall is no handler: a NoCall cannot be called"),
    "text": ("module:name", "str is no handler: a str cannot be called"),
    "nothing": (None, "NoneType is no handler"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_answer_is_refused_at_the_start(case: str) -> None:
    handler, words = WRONG[case]
    with pytest.raises(ConfigurationError, match=words) as caught:
        Server(("127.0.0.1", 0), handler)
    assert "expected a function from str to str" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        Server(("127.0.0.1", 0), handlers={0xC0: handler})


GOOD: dict[str, tuple[Any, str]] = {
    "function": (lambda text: text, "GOOD.<lambda>"),
    "method": (Called().__call__, "Called.__call__"),
    "object": (Called(), "Called"),
    "class": (str, "str"),
    "built in": (str.upper, "str.upper"),
    "part": (functools.partial(functools.partial(of_a_keyword, password="hunter2")), "of_a_keyword"),  # noqa: S106 - none
    "two, one of them given": (lambda text, more="": text + more, ""),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_a_handler_is_called_tells_no_secret(case: str) -> None:
    handler, name = GOOD[case]
    Server(("127.0.0.1", 0), handler)
    assert name_of(handler).endswith(name.removeprefix("GOOD."))
    assert "hunter2" not in name_of(handler)
