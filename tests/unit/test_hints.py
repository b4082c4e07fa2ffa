"""What users annotate and type checkers read: public annotations can be looked up when a program runs."""

from __future__ import annotations

import importlib
import inspect
import typing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PACKAGES = (
    "framelet",
    "framelet_server",
    "framelet_server.asyncio",
    "framelet_client",
    "framelet_client.asyncio",
    "framelet_conformance.pytest_plugin",
    "framelet_conformance.specification",
)


def exported(module: ModuleType) -> list[Any]:
    """What a module exports; where it does not say, the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return [getattr(module, name) for name in module.__all__]
    return [
        found
        for name, found in vars(module).items()
        if (inspect.isclass(found) or inspect.isfunction(found))
        and found.__module__ == module.__name__
        and not name.startswith("_")
    ]


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
    found = exported(importlib.import_module(package))
    looked_up = [typing.get_type_hints(each) for one in found for each in functions(one)]
    assert len(looked_up) > len(found) / 2
