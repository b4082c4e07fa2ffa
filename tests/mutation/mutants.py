"""Small changes of a module's functions, as slips of the hand make them, and how one takes their place."""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_GONE = (ast.Raise, ast.Assign, ast.AugAssign)


class Mutant(NamedTuple):
    """One change: where, and the line or expression before and after."""

    module: str
    line: int
    function: str
    before: str
    after: str
    source: str

    @property
    def words(self) -> str:
        """What is changed, in one line that stays as it is where lines are added before it."""
        return f"{self.called}: `{self.before}` -> `{self.after}`"

    @property
    def called(self) -> str:
        """The function that is changed, with its module."""
        return f"{self.module}.{self.function}"


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """All changes of a module's functions, each by itself."""
    name = module.__name__.rpartition(".")[2]
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    for function, node in list(_functions_in(tree)):
        noted = [part.annotation for part in ast.walk(node) if isinstance(part, ast.AnnAssign)]
        never_run = {id(part) for annotation in noted for part in ast.walk(annotation)}
        parts = [part for statement in node.body for part in ast.walk(statement) if id(part) not in never_run]
        for inner in parts:
            for after in _changes(inner):
                before = ast.unparse(inner)
                was = dict(vars(inner)), inner.__class__
                inner.__dict__.clear()
                inner.__dict__.update(vars(after))
                inner.__class__ = after.__class__
                ast.fix_missing_locations(tree)
                line = was[0].get("lineno", node.lineno)
                now = ast.unparse(inner)
                yield Mutant(name, line, function, _short(before), _short(now), ast.unparse(tree))
                inner.__dict__.clear()
                inner.__dict__.update(was[0])
                inner.__class__ = was[1]


def _short(text: str) -> str:
    return " ".join(text.split())[:80].replace("|", "\\|")


def _functions_in(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods, and not those inside of them, which change with them.

    Those that make the members of an enumeration have run by the time that a change can be made.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "__new__":
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions_in(node, f"{prefix}{node.name}.")


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield copy.copy(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_text(node):
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.If) and isinstance(node.test, (ast.Name, ast.Attribute, ast.Call)):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, _GONE) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _is_none(node: ast.AST) -> bool:
    """Also False, which is changed to True as well, and is as good as None."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, (ast.JoinedStr, ast.Constant)) and not isinstance(getattr(side, "value", 0), int)
        for side in (node.left, node.right)
    )


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code of everything that is defined in a module."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes_of(constant)


def functions_of(module: ModuleType) -> Iterator[FunctionType]:
    """All functions and methods that a module defines."""
    for thing in vars(module).values():
        if getattr(thing, "__module__", "") != module.__name__:
            continue
        for member in vars(thing).values() if inspect.isclass(thing) else [thing]:
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            inner = getattr(inner, "__wrapped__", inner)
            if isinstance(inner, FunctionType) and inner.__code__.co_filename == module.__file__:
                yield inner


def forget(module: ModuleType) -> None:
    """Empty the caches of a module's functions: those are called again then."""
    for thing in vars(module).values():
        if hasattr(type(thing), "cache_clear"):  # some things of construct have any attribute
            thing.cache_clear()


@contextlib.contextmanager
def running(module: ModuleType, source: str) -> Iterator[None]:
    """Have a module's functions run as another source has them; they stay the same objects."""
    codes = {code.co_qualname: code for code in codes_of(compile(source, str(module.__file__), "exec"))}
    was = [(function, function.__code__) for function in functions_of(module)]
    for function, code in was:
        function.__code__ = codes[code.co_qualname]
    forget(module)
    try:
        yield
    finally:
        for function, code in was:
            function.__code__ = code
