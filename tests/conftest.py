"""Hypothesis and certificates for all tests.

The profile ``default`` of Hypothesis is quick and always the same, ``thorough`` is long and random: choose
with the environment variable HYPOTHESIS_PROFILE.  A failure prints a blob that reproduces it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator
    from pathlib import Path
    from typing import TypeVar

    AnyReport = TypeVar("AnyReport", pytest.TestReport, pytest.CollectReport)

# Helpers beside the tests: a failed assertion shall show what was compared, as in a test.
pytest.register_assert_rewrite(*(f"tests.integration.{name}" for name in ("dissecting", "peers", "scripted")))

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")

settings.register_profile("default", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile(
    "thorough",
    deadline=None,
    max_examples=3_000,
    print_blob=True,
    # Long runs on a busy machine are slow now and then; that says nothing about the code.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(PROFILE)

# A shell ignores SIGINT for what it starts in its background, and nohup SIGHUP;
# the programs under test would go on doing so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each core: about half of a run is spent waiting for deadlines."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    """A skip leaves a promise untested, so where tests are run for good each needs its excuse."""
    text = "fail where a test is skipped, unless a line of FILE begins with the reason, up to a colon"
    parser.addoption("--skips-allowed", metavar="FILE", help=text)
    parser.addoption("--in-loop", action="store_true", help="have servers run inside an asyncio loop")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped for no good reason has failed."""
    return _unless_excused(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So has a module."""
    return _unless_excused(collector.config, (yield))


def _unless_excused(config: pytest.Config, report: AnyReport) -> AnyReport:
    file = config.getoption("--skips-allowed")
    if file is None or not report.skipped or hasattr(report, "wasxfail"):
        return report
    assert isinstance(report.longrepr, tuple)
    lines = (config.rootpath / file).read_text(encoding="utf-8").splitlines()
    excuses = [line.partition(":")[0] for line in lines if line and not line.startswith("#")]
    _, _, words = report.longrepr
    reason = words.removeprefix("Skipped: ")
    if not reason.startswith(tuple(excuses)):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {file} does not excuse it: {reason}"
    return report


def pytest_collection_finish() -> None:
    """Have no collection of garbage look at what was collected to be run: it is in use to the end."""
    gc.freeze()


_MINUTES = 600
"""Seconds that a test may take where it takes minutes."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that it does not go on alone at the end; no bound in a thorough run.

    Each process gets a part of the list, in its order.  Only every second one is to have it: it is busy.
    """
    count = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    long = [item for item in items if any(mark.args[0] >= _MINUTES for mark in item.iter_markers("timeout"))]
    others = [item for item in items if item not in long]
    left = len(items)
    items.clear()
    for number in range(count):
        share = left // (count - number)
        first = [] if number % 2 else long[number // 2 :: (count + 1) // 2]
        rest = max(0, share - len(first))
        items += first + others[:rest]
        del others[:rest]
        left -= len(first) + rest
    items += others
    if PROFILE == "thorough":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


class Certificates:
    """Authorities, and the files of certificates that they have signed, the key in the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.authority = trustme.CA()
        self.ca_file = self._write(self.authority.cert_pem)
        self.other_authority = trustme.CA()
        self.other_ca_file = self._write(self.other_authority.cert_pem)
        self.server = self.issue("localhost", "127.0.0.1", "::1")
        self.operator = self.issue("operator@framelet.example", organization_unit_name="operator")
        self.guest = self.issue("guest@framelet.example", organization_unit_name="guest")
        self.stranger = self.issue("x@framelet.example", authority=self.other_authority)

    def issue(self, *names: str, authority: trustme.CA | None = None, **options: Any) -> Path:
        """A file with a new key and its certificate."""
        certificate = (authority or self.authority).issue_cert(*names, **options)
        return self._write(certificate.private_key_and_cert_chain_pem)

    def context(self, **attributes: Any) -> ssl.SSLContext:
        """What a client needs that trusts the authority; ``cert`` is its own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        if cert := attributes.pop("cert", None):
            context.load_cert_chain(cert)
        for name, value in attributes.items():
            setattr(context, name, value)
        return context

    def _write(self, pem: trustme.Blob) -> Path:
        self._count += 1
        file = self._folder / f"{self._count}.pem"
        pem.write_to_path(file)
        return file


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The certificates for tests of TLS."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


class TlsSocket:
    """A socket that speaks TLS as a client, with the half-close that ``ssl.SSLSocket`` lacks.

    ``step`` octets are written at a time.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, step: int = 65_536) -> None:
        self.raw = sock
        self.step = step
        self.notified = False  # whether the other end has sent close_notify
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    def do_handshake(self) -> None:
        """All of it; what a server refuses afterwards shows when something is received."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                assert self._read(), "the stream ended in the handshake"
            else:
                self._flush()
                return

    def hello(self) -> bytes:
        """The first octets of a handshake."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.tls.write(left) :]
        self._flush()

    def recv(self, size: int) -> bytes:
        """As of a plain socket; the end of the stream is that, with close_notify or without."""
        while True:
            try:
                data = self.tls.read(size)
            except ssl.SSLWantReadError:
                if not self._read():
                    return b""
            except ssl.SSLZeroReturnError:
                self.notified = True
                return b""
            else:
                self.notified = not data
                return data

    def shutdown(self, how: int) -> None:
        """Send close_notify, then FIN."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._flush()
        self.raw.shutdown(how)

    def settimeout(self, seconds: float) -> None:
        self.raw.settimeout(seconds)

    def fileno(self) -> int:
        return self.raw.fileno()

    def setsockopt(self, *option: Any) -> None:
        self.raw.setsockopt(*option)

    def close(self) -> None:
        self.raw.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        for start in range(0, len(data), self.step):
            self.raw.sendall(data[start : start + self.step])

    def _read(self) -> bytes:
        data = self.raw.recv(65_536)
        self._incoming.write(data)
        return data


@pytest.fixture(scope="session")
def tls_socket() -> type[TlsSocket]:
    """The class of a client's socket that speaks TLS."""
    return TlsSocket
