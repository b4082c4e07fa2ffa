"""The public API: complete, and importable."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest

import framelet
from framelet import errors, events

PUBLIC: dict[str, Any] = {name: getattr(framelet, name, None) for name in framelet.__all__}


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_all_is_sorted_and_without_repetition() -> None:
    assert framelet.__all__ == sorted(set(framelet.__all__), key=order)


def test_a_star_import_gives_all_and_nothing_else() -> None:
    namespace: dict[str, object] = {}
    exec("from framelet import *", namespace)  # noqa: S102 - the statement that users write
    assert set(namespace) - {"__builtins__"} == set(framelet.__all__)


def test_all_leaves_nothing_public_out() -> None:
    names = {
        name
        for name, value in vars(framelet).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert names | {"grammar"} == set(framelet.__all__)


@pytest.mark.parametrize("module", [errors, events], ids=["errors", "events"])
def test_every_error_and_every_event_is_exported(module: ModuleType) -> None:
    defined = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert len(defined) > 10
    assert defined <= set(framelet.__all__)


def test_an_exported_name_is_the_same_object_in_its_module() -> None:
    for name, value in PUBLIC.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            module = importlib.import_module(value.__module__)
            assert value.__module__.startswith("framelet.")
            assert getattr(module, name) is value


# Docstrings.  Those of constants are only in the source: a string behind the assignment.


def test_the_version_is_that_of_the_distribution() -> None:
    assert framelet.__version__ == version("framelet")
