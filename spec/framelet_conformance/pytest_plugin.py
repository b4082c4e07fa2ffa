"""The suite inside other people's pytest: a server for their tests, and the cases as tests of their peers.

pytest loads this module in every project that has the package installed, so all else is imported on use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from framelet_server import Server

    from .options import RunOptions
    from .results import CaseResult
    from .running.collection import Collection
    from .running.run import Runner

_ROLES = {"framelet_server_case": "server", "framelet_client_case": "client"}
_LOG_LINES = 60
_PATIENCE = 30.0  # seconds for a server whose drain was cut short


@pytest.fixture
def framelet_server() -> Iterator[Callable[..., Server]]:
    """``framelet_server(handler, ...)`` is a running server on a free port of 127.0.0.1, until the test ends.

    It takes what ``framelet_server.Server`` takes, and the fields of ``ServerLimits`` as keywords; without a
    handler it reverses texts.
    """
    from framelet_server import Server, ServerLimits

    started: list[Server] = []

    def start(*handler: Any, address: Any = ("127.0.0.1", 0), **settings: Any) -> Server:  # noqa: ANN401 - as Server
        names = {info.name for info in ServerLimits.describe()} & settings.keys()
        limits = settings.pop("limits", None) or ServerLimits()
        limits = limits.replace(**{name: settings.pop(name) for name in names})
        started.append(Server(address, *handler, limits=limits, **settings).start())
        return started[-1]

    yield start
    for server in started:
        server.begin_drain()
        server.force()  # clients that the test left open are not waited for
    assert all(server.wait(_PATIENCE) for server in started), "a server did not end: does its handler?"  # noqa: S101 - pytest's


class ConformanceCase(NamedTuple):
    """One case of the suite, to be called by the test: it passes, skips or fails that."""

    id: str
    play: Callable[[], None]

    def __call__(self) -> None:
        """Take the verdict; raises pytest's Failed or Skipped."""
        self.play()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each case of a role."""
    for name in _ROLES.keys() & set(metafunc.fixturenames):
        ids = [which.id for which in _collected(metafunc.config, _ROLES[name])[0].cases.values()]
        metafunc.parametrize(name, ids, indirect=True, ids=ids, scope="function")


_COLLECTED = pytest.StashKey[dict[str, Any]]()


def _collected(config: pytest.Config, role: str) -> tuple[Collection, dict[str, pytest.Item]]:
    """The cases of a role, and the items that hold their functions by their ids; collected once."""
    known = config.stash.setdefault(_COLLECTED, {})
    if role not in known:
        from .options import RunOptions
        from .running.collection import Collection, run_pytest

        class Keep:
            """Keeps the items, and runs none."""

            def pytest_runtestloop(self, session: pytest.Session) -> bool:
                self.items = session.items
                return True

        options, keep = RunOptions(role=role), Keep()
        collection = Collection(options)
        run_pytest(options, collection, keep)
        known[role] = collection, {collection.cases[item.nodeid].id: item for item in keep.items}
    found: tuple[Collection, dict[str, pytest.Item]] = known[role]
    return found


@pytest.fixture(scope="session")
def framelet_server_under_test() -> str | Mapping[str, Any]:
    """The server that ``framelet_server_case`` tests; a project overrides it, and so for a client.

    HOST:PORT, unix:PATH, or a command with {port} in it that launches a server.  Or a mapping of ``address``
    or ``launch``, and further settings named as options of ``framelet-conformance``: ``stop_policy``,
    ``stop_token``, ``allow_stop``, ``time_scale``, ``workers``, ``examples``, ``seed``, ``slow``, ``strict``.
    """
    pytest.fail("define a session fixture framelet_server_under_test: its address, or a command with {port}")


@pytest.fixture(scope="session")
def framelet_client_under_test() -> str | Mapping[str, Any]:
    """The command of the adapter that ``framelet_client_case`` tests: a project overrides it."""
    pytest.fail("define a session fixture framelet_client_under_test: a command with {host} and {port}")


@pytest.fixture
def framelet_server_case(request: pytest.FixtureRequest, _framelet_server_run: _Run) -> ConformanceCase:
    """A case for servers: the test calls it."""
    return ConformanceCase(request.param, lambda: _framelet_server_run.take(request.param))


@pytest.fixture
def framelet_client_case(request: pytest.FixtureRequest, _framelet_client_run: _Run) -> ConformanceCase:
    """A case for clients: the test calls it."""
    return ConformanceCase(request.param, lambda: _framelet_client_run.take(request.param))


@pytest.fixture(scope="session")
def _framelet_server_run(
    request: pytest.FixtureRequest,
    framelet_server_under_test: str | Mapping[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Run]:
    yield from _running(request, "server", framelet_server_under_test, tmp_path_factory)


@pytest.fixture(scope="session")
def _framelet_client_run(
    request: pytest.FixtureRequest,
    framelet_client_under_test: str | Mapping[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Run]:
    yield from _running(request, "client", framelet_client_under_test, tmp_path_factory)


def _running(
    request: pytest.FixtureRequest,
    role: str,
    under_test: str | Mapping[str, Any],
    folders: pytest.TempPathFactory,
) -> Iterator[_Run]:
    from .cli.options import read_address
    from .options import RunOptions
    from .targets.adapter import Adapter
    from .targets.servers import Servers
    from .wire.times import Times

    if isinstance(under_test, str):
        under_test = {"launch" if role == "client" or "{port}" in under_test else "address": under_test}
    settings = {"replay_folder": folders.mktemp("framelet-replays"), **under_test, "role": role}
    if isinstance(settings.get("address"), str):
        settings["address"] = read_address(settings["address"])
    settings["times"] = Times(settings.pop("time_scale", 1.0))
    options = RunOptions(**settings)
    collection, items = _collected(request.config, role)
    run = _Run(options, collection, items, lambda: Servers(options) if role == "server" else Adapter(options))
    run.start(request)
    yield run
    run.finish()


class _Run:
    """A peer under test, and what came of the cases."""

    def __init__(
        self,
        options: RunOptions,
        collection: Collection,
        items: dict[str, pytest.Item],
        make_target: Callable[[], Any],
    ) -> None:
        from .results import Results
        from .running.run import Runner

        self._items = items
        self._strict = options.strict
        self._results = Results(options.role, "")
        self._runner: Runner = Runner(options, collection, make_target, self._results)

    def start(self, request: pytest.FixtureRequest) -> None:
        """Begin with those that this session will ask for; each of several workers asks as it goes."""
        chosen = []
        if not hasattr(request.config, "workerinput"):
            asked = [getattr(item, "callspec", None) for item in request.session.items]
            ids = {
                spec.params.get(f"framelet_{self._results.role}_case") for spec in asked if spec is not None
            }
            chosen = [item for name, item in self._items.items() if name in ids]
        if not self._runner.start(chosen):
            self._runner.finish(interrupted=True)
            pytest.fail(f"cannot be tested: {self._results.trouble}", pytrace=False)

    def take(self, name: str) -> None:
        """Pass, skip or fail a test."""
        from .verdicts import Verdict

        result = self._runner.result(self._items[name])
        self._results.add(result)
        if result.verdict is Verdict.SKIPPED:
            pytest.skip(result.reason)
        bad = {Verdict.FAIL, Verdict.FLAKY, Verdict.SETUP_ERROR} | (
            {Verdict.NON_STRICT} if self._strict else set()
        )
        if result.verdict in bad:
            pytest.fail("\n".join(_told(result)), pytrace=False)

    def finish(self) -> None:
        """End what was launched; fails where the peer is gone though no case says so."""
        self._runner.finish(interrupted=self._runner.untaken)
        if self._results.trouble:
            pytest.fail(self._results.trouble, pytrace=False)


def _told(result: CaseResult) -> Iterator[str]:
    """A failure, with the sentences that were broken and the octets that show it."""
    from .reports.wire_lines import lines
    from .specification import read_requirements

    yield f"{result.verdict}: {result.title}"
    yield result.reason
    known = read_requirements()
    yield from (f"{name}: {known[name].sentence}" for name in result.broken if name in known)
    for log in result.logs[-1:]:
        for line in [*lines(log)][-_LOG_LINES:]:
            arrow = {"sent": "->", "received": "<-"}.get(line.way, "  ")
            yield f"{line.time * 1000:9.1f} ms {arrow} {line.octets}  {line.meaning}"
    if result.replay:
        yield f"replay: {result.replay}"
