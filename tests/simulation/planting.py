"""Bugs of concurrency, planted in the server's source while a simulation runs.

Each is a change of a few words; what it was is found again after other changes of the module, or
``planted`` raises.  Functions get the changed code and keep their identity, so that nothing is imported anew.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bug(NamedTuple):
    """One bug: what is wrong, the module below framelet_server, and the words before and after.

    ``also`` has further such changes of the same module.
    """

    name: str
    module: str
    before: str
    after: str
    also: tuple[tuple[str, str], ...] = ()


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Have the server's functions run with a bug."""
    module = importlib.import_module(f"framelet_server.{bug.module}")
    file = Path(str(module.__file__))
    source = file.read_text(encoding="utf-8")
    for before, after in ((bug.before, bug.after), *bug.also):
        if source.count(before) != 1:
            message = f"{bug.name}: the words are {source.count(before)} times in {file.name}: {before}"
            raise LookupError(message)
        source = source.replace(before, after)
    codes = {code.co_qualname: code for code in _codes(compile(source, str(file), "exec"))}
    was: list[tuple[FunctionType, CodeType]] = []
    for function in _functions(module):
        code = codes[function.__code__.co_qualname]
        was.append((function, function.__code__))
        function.__code__ = code
    try:
        yield
    finally:
        for function, code in was:
            function.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(module: object) -> Iterator[FunctionType]:
    """All functions and methods that a module defines."""
    name = vars(module)["__name__"]
    for thing in vars(module).values():
        if getattr(thing, "__module__", "") != name:
            continue
        for member in vars(thing).values() if inspect.isclass(thing) else [thing]:
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(inner, FunctionType) and inner.__code__.co_filename == vars(module)["__file__"]:
                yield inner
