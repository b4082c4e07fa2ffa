"""The wheel and the sdist build, install into an empty environment, and work there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from framelet import TcpAddress
from framelet_server import Server

from . import user_program
from .test_embedding import PRINTED, run_programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PACKAGES = ("framelet", "framelet_server", "framelet_client", "framelet_conformance")


def run(*command: str | Path, **options: str) -> str:
    """Run a command to its end and return what it printed."""
    finished = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, cwd=options.get("cwd", ROOT)
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from that sdist: a wheel that only the checkout can make is none."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def test_the_wheel_holds_the_four_packages_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[1]).namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert {name for name in folders if not name.endswith(".data")} == set(PACKAGES)
    pages = {name.partition("/man1/")[2] for name in names if ".data/data/share/man/" in name}
    assert pages - {""} == {"framelet.1", "framelet-server.1", "framelet-conformance.1"}
    assert {f"framelet_conformance/{name}" for name in ("data/SPEC.md", "data/vectors/utf8.json")} <= {*names}
    assert {"framelet_client/data/framelet.lua", "framelet_client/data/framelet.ksy"} <= {*names}
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
        sources = {path.name for folder in ROOT.glob(f"*/{package}") for path in folder.glob("*.py")}
        assert {name.split("/")[1] for name in names if name.startswith(f"{package}/")} >= sources


def test_the_description_links_to_nothing_that_an_index_does_not_have(built: tuple[Path, Path]) -> None:
    archive = zipfile.ZipFile(built[1])
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    links = re.findall(r"\]\(([^)]*)\)", archive.read(name).decode())
    assert links
    assert all(link.startswith(("https://", "#")) for link in links), links


def test_the_sdist_holds_the_specification_and_the_tests(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "SECURITY.md",
        "LICENSE",
        "Makefile",
        "spec/SPEC.md",
        "tests/conftest.py",
        "deploy/haproxy.cfg",
        "pyproject.toml",
    } <= names
    assert not {name for name in names if name.startswith((".venv", ".git/", "dist"))}


def test_the_base_install_needs_construct_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = install(tmp_path, str(built[1]))
    listed = run(python, "-m", "pip", "list", "--format=freeze")
    packages = {line.split("==")[0] for line in listed.split()} - {"pip", "setuptools", "wheel"}
    assert packages == {"construct", "framelet"}
    program = (
        "from framelet_server import Server; from framelet_client import Client\n"
        "with Server(('127.0.0.1', 0)) as server, Client(str(server.address)) as client:\n"
        "    print(client.request('empty'))"
    )
    assert run(python, "-I", "-c", program, cwd=str(tmp_path)) == "ytpme\n"
    for document in PRINTED:
        run_programs(document, [python, "-I"])
    for command, name in (("framelet", "framelet"), ("framelet-server", "framelet-server")):
        finished = subprocess.run(
            [python.parent / command, "--help"], check=False, capture_output=True, text=True, timeout=30
        )
        assert finished.returncode == 2
        assert finished.stderr.startswith(f"{name}: the command line needs the extra")
        assert finished.stderr.count("\n") == 1


def test_the_suite_works_from_an_installed_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = install(tmp_path, f"{built[1]}[conformance]")
    command = python.parent / "framelet-conformance"
    listed = run(command, "server", "127.0.0.1:1", "--list", cwd=str(tmp_path))
    assert "vector.utf8-" in listed
    with Server(("127.0.0.1", 0)) as server:
        assert isinstance(server.address, TcpAddress)
        target = f"127.0.0.1:{server.address.port}"
        report = tmp_path / "report.html"
        only = ("--only", "vector.reversal-*.whole")
        run(command, "server", target, *only, "--report-html", report, cwd=str(tmp_path))
    assert "REQ-REV-1" in report.read_text()


def test_the_commands_work_from_an_installed_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = install(tmp_path, f"{built[1]}[cli]")
    assert "framelet" in run(python.parent / "framelet", "--version", cwd=str(tmp_path))
    assert "framelet-server" in run(python.parent / "framelet-server", "--version", cwd=str(tmp_path))


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel, and what the suite needs."""
    return install(tmp_path_factory.mktemp("environment"), f"{built[1]}[conformance]")


def test_all_that_is_public_has_a_type(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    path = f"{installed.parent}:{os.environ['PATH']}"  # pyright asks the first Python of it
    for package in PACKAGES:
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--ignoreexternal", "--outputjson", "--verifytypes", package],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
        )
        found = json.loads(done.stdout)["typeCompleteness"]
        unknown = [
            each["name"] for each in found["symbols"] if each["isExported"] and not each["isTypeKnown"]
        ]
        assert (unknown, found["completenessScore"]) == ([], 1), package


def test_a_users_program_is_clean_by_the_strictest_checkers(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    pytest.importorskip("mypy")
    assert user_program.__file__
    program = shutil.copy(user_program.__file__, tmp_path)
    for checker in (
        ("mypy", "--strict", "--python-executable", str(installed)),
        ("pyright", "--pythonpath", str(installed)),
    ):
        run(sys.executable, "-m", *checker, program, cwd=str(tmp_path))


def install(folder: Path, requirement: str) -> Path:
    """Install into a new, empty environment; its interpreter."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
    return python
