"""The public API: complete, importable, and each name with a docstring."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

import pytest

import framelet
from framelet import errors, events

PUBLIC: dict[str, Any] = {name: getattr(framelet, name, None) for name in framelet.__all__}
MODULES = [
    importlib.import_module(f"framelet.{info.name}")
    for info in pkgutil.iter_modules(framelet.__path__)
    if not info.name.startswith("_")
]


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_all_is_sorted_and_without_repetition() -> None:
    assert framelet.__all__ == sorted(set(framelet.__all__), key=order)


@pytest.mark.parametrize("name", framelet.__all__)
def test_each_name_of_all_can_be_imported(name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from framelet import {name}", namespace)  # noqa: S102 - the statement that users write
    assert namespace[name] is getattr(framelet, name)


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


def documented(module: ModuleType) -> set[str]:
    """The names at the top of a module that have a docstring of their own."""
    assert module.__file__ is not None
    body = ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
    found: set[str] = set()
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            has_string = (
                isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            )
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name) and has_string}
    return found


DOCUMENTED = {name for module in MODULES for name in documented(module)}


@pytest.mark.parametrize("name", sorted(set(framelet.__all__) - {"grammar"}))
def test_each_public_name_has_a_docstring(name: str) -> None:
    assert name in DOCUMENTED


@pytest.mark.parametrize("module", [framelet, *MODULES], ids=lambda module: module.__name__)
def test_each_module_has_a_docstring(module: ModuleType) -> None:
    assert module.__doc__
    assert module.__doc__.splitlines()[0].endswith((".", ":"))


def members(cls: type) -> set[str]:
    """The public methods and properties that a class or a base of ours defines."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.startswith("framelet.")
        for name, value in vars(base).items()
        if not name.startswith("_") and isinstance(value, (property, classmethod, FunctionType))
    }


METHODS = [
    (cls, name)
    for cls in PUBLIC.values()
    if inspect.isclass(cls) and not issubclass(cls, tuple)
    for name in sorted(members(cls))
]


def test_methods_are_found() -> None:
    assert (framelet.ServerConnection, "send_reply") in METHODS
    assert (framelet.ServerConnection, "state") in METHODS  # of the base
    assert (framelet.ErrorCode, "fatal") in METHODS


@pytest.mark.parametrize(("cls", "name"), METHODS, ids=[f"{cls.__name__}.{name}" for cls, name in METHODS])
def test_each_public_method_has_a_docstring(cls: type, name: str) -> None:
    assert inspect.getdoc(getattr(cls, name))  # of the method itself, or of the one that it overrides


def test_the_version_is_that_of_the_distribution() -> None:
    assert framelet.__version__ == version("framelet")


@pytest.mark.parametrize(
    "cls",
    [cls for cls in vars(events).values() if inspect.isclass(cls) and cls.__module__ == events.__name__],
)
def test_the_types_of_events_are_there_when_the_program_runs(cls: type) -> None:
    assert set(get_type_hints(cls)) == set(cls.__match_args__)  # type: ignore[attr-defined]
