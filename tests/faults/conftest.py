"""The fixtures of the integration tests, for the tests in which something really fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path

# Test modules cannot import each other, and the fixtures are to stand in one place.
_path = Path(__file__).parents[1] / "integration" / "conftest.py"
_spec = importlib.util.spec_from_file_location("integration_fixtures", _path)
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

command = _fixtures.command
connect = _fixtures.connect
connect_tls = _fixtures.connect_tls
gate = _fixtures.gate
listen_on = _fixtures.listen_on
poller = _fixtures.poller
scripted_server = _fixtures.scripted_server
serve = _fixtures.serve
until = _fixtures.until
