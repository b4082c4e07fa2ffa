"""The walls between the packages, read off the syntax of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.each import each

ROOT = Path(__file__).parents[2]

# What reaches beyond the octets and the time that a caller hands in: networks, threads, processes, files,
# clocks, chance, and imports that no reader of the source sees.
IMPURE = {
    *(
        "_socket",
        "_ssl",
        "socket",
        "socketserver",
        "ssl",
        "select",
        "selectors",
        "asyncio",
        "asyncore",
        "asynchat",
    ),
    *("ftplib", "http", "imaplib", "poplib", "smtplib", "urllib", "xmlrpc", "wsgiref"),
    *(
        "_thread",
        "threading",
        "concurrent",
        "queue",
        "sched",
        "multiprocessing",
        "subprocess",
        "_posixsubprocess",
    ),
    *("os", "posix", "pty", "signal", "sys", "termios", "tty", "fcntl", "mmap", "resource", "ctypes"),
    *("builtins", "fileinput", "glob", "pathlib", "shutil", "sqlite3", "tempfile", "logging", "getpass"),
    *("time", "_time", "datetime", "calendar", "random", "secrets", "uuid"),
    *("importlib", "runpy", "pkgutil", "__import__", "exec", "eval", "open"),
}
ALLOWED = {
    "tls.py": {"os", "pathlib", "ssl", "tempfile"},
    "codec.py": {"sys"},
    "connection.py": {"sys"},
    "errors.py": {"importlib"},
    "__main__.py": {"os", "runpy", "signal"},
}
"""TLS goes through memory, so ``ssl`` does no I/O on a connection; both read files with certificates.

``sys`` says how large an object is, and whether Python runs in its development mode.  ``importlib`` reads
where the package came from, for words of an error.
``__main__`` is part of the commands, and nothing of the protocol imports it.
"""

OURS = {"framelet": "protocol", "framelet_server": "server", "framelet_client": "client"}
MAY_IMPORT: dict[str, set[str]] = {
    "framelet": set(),
    "framelet_server": {"framelet"},
    "framelet_client": {"framelet"},
}
MODULES = [
    (package, path) for package, folder in OURS.items() for path in sorted((ROOT / folder).rglob("*.py"))
]


def imports(source: str) -> set[str]:
    """The top-level names of all modules that a source imports when it runs, in whatever way."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Name) and node.id in {"__import__", "exec", "eval", "open"}:
            found.add(node.id)
        # What stands under TYPE_CHECKING never runs; what stands under its else does.
        checking = isinstance(node, ast.If) and ast.unparse(node.test) in {
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        }
        pending += node.orelse if isinstance(node, ast.If) and checking else ast.iter_child_nodes(node)
    return found


@each("path", [path for package, path in MODULES if package == "framelet"])
def test_the_protocol_imports_nothing_that_touches_the_world(path: Path) -> None:
    found = imports(path.read_text(encoding="utf-8"))
    assert found & IMPURE <= ALLOWED.get(path.name, set())
    # Beside the standard library there is one dependency.
    assert found - sys.stdlib_module_names <= {"construct"}


def test_the_protocol_alone_does_not_load_openssl() -> None:
    # From Python 3.14 on Construct loads it: it loads pdb, and that asyncio.
    loaded = "'ssl' in sys.modules"
    program = f"import construct, sys; before = {loaded}; import framelet; sys.exit(({loaded}) > before)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@each("package path", MODULES)
def test_packages_import_each_other_in_one_direction(package: str, path: Path) -> None:
    found = imports(path.read_text(encoding="utf-8"))
    assert found & OURS.keys() <= MAY_IMPORT[package] | {package}
