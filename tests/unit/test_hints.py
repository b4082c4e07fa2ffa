"""What users annotate and type checkers read: public annotations can be looked up when a program runs."""

from __future__ import annotations

import importlib
import inspect
import typing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "framelet",
    "framelet_server",
    "framelet_server.asyncio",
    "framelet_client",
    "framelet_client.asyncio",
)


def functions(found: Any) -> Iterator[Any]:
    """An exported object, and the methods and properties that users call on it."""
    if inspect.isclass(found):
        yield found
        for cls in found.__mro__:
            if cls.__module__.startswith("framelet"):
                for name, member in vars(cls).items():
                    function = member.fget if isinstance(member, property) else member
                    function = getattr(function, "__func__", function)
                    if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
                        yield function
    elif inspect.isfunction(found):
        yield found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_annotations_of_all_that_is_exported_have_names_that_exist(package: str) -> None:
    module = importlib.import_module(package)
    looked_up = [
        typing.get_type_hints(each) for name in module.__all__ for each in functions(getattr(module, name))
    ]
    assert len(looked_up) > len(module.__all__) / 2
