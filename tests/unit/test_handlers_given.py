"""What may be a handler is seen before the server starts, and what it is called tells no secret."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from tests.each import each

from framelet import ConfigurationError
from framelet_server import CallContext, Peer, Server
from framelet_server.service.handlers import Service, name_of

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


def of_context(text: str, context: CallContext, more: str) -> str:
    return text + context.peer.name + more


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
    "coroutine": (coroutine, "coroutine is not a handler: it is async, or a generator"),
    "asynchronous generator": (generated, "generated is not a handler: it is async"),
    "generator": (generator, "generator is not a handler"),
    "part of a coroutine": (functools.partial(functools.partial(coroutine)), "coroutine is not a handler"),
    "asynchronous object": (AsyncCall(), "AsyncCall is not a handler: it is async"),
    "two parameters, one called context": (of_context, "of_context is not a handler.*argument: 'more'"),
    "two parameters": (of_two, "it cannot be called with one text: missing a required argument: 'more'"),
    "none": (lambda: "", "it cannot be called with one text: too many positional arguments"),
    "a keyword": (of_a_keyword, "missing a required.*argument: 'password'"),
    "class": (NoCall, "NoCall is not a handler: calling the class makes an object, not a text"),
    "class that takes a text": (functools.partial(OfText), "OfText is not a handler: calling the class"),
    "object": (NoCall(), "NoCall is not a handler: a NoCall cannot be called"),
    "text": ("module:name", "str is not a handler: a str cannot be called"),
    "nothing": (None, "NoneType is not a handler"),
}


@each("case", WRONG)
def test_what_cannot_answer_is_refused_at_the_start(case: str) -> None:
    handler, words = WRONG[case]
    with pytest.raises(ConfigurationError, match=words) as caught:
        Server(("127.0.0.1", 0), handler)
    assert "str to str, whose second parameter, if it has one, is annotated with CallC" in str(caught.value)
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


def optional(text: str, context: CallContext | None = None) -> str:
    return text + (context.peer.name if context else "")


def in_words(text: str, where: CallContext) -> str:
    return text + where.peer.name


in_words.__annotations__["where"] = "framelet_server.CallContext | None"


class Bound:
    def handle(self, text: str, context: CallContext) -> str:
        return text + context.peer.name

    __call__ = handle


ASKING: dict[str, Any] = {
    "annotation": of_context,
    "optional": optional,
    "annotation in words": in_words,
    "method": Bound().handle,
    "object": Bound(),
    "named": lambda text, context: text + context.peer.name,
    "part": functools.partial(of_context, more=""),
}
NOT_ASKING: dict[str, Any] = {
    "another default": lambda text, context="global": text + context,
    "a keyword": functools.partial(of_a_keyword, password=""),
    "built in": str.upper,
}


@pytest.mark.parametrize("case", [*ASKING, *NOT_ASKING])
def test_a_handler_asks_for_the_context_by_its_signature(case: str) -> None:
    asks = case in ASKING
    handler = (ASKING | NOT_ASKING)[case]
    if case == "annotation":
        handler = functools.partial(handler, more="")
    assert Service(handler, None).asks == asks


def test_a_context_is_made_for_a_test_and_copied_without_its_connection() -> None:
    peer = Peer("10.0.0.1:5", "10.0.0.1", local=False, roles=frozenset({"operator"}))
    for context in (made := CallContext(0xC0, peer), copy.copy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 - our own
        assert (context.type, context.peer, context.roles) == (0xC0, peer, {"operator"})
        assert (context.deadline, context.cancelled) == (None, False)
        assert repr(context) == "CallContext(type=0xc0, peer='10.0.0.1:5')"
