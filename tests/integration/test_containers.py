"""deploy/Dockerfile and deploy/kubernetes.yaml: what they start is started here, and probed as they do it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.integration.test_observability import get

from .scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Command

    Start = Callable[..., Command]

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = {
    manifest["kind"]: manifest
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def words(instruction: str) -> list[str]:
    """The command of the Dockerfile's instruction, which stands there as JSON."""
    found: list[str] = json.loads(re.findall(rf"^{instruction}.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    return found


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [words("CMD"), CONTAINER["args"]], ids=["Dockerfile", "kubernetes.yaml"]
)
def test_what_a_container_runs_serves_and_drains(command: Start, arguments: list[str]) -> None:
    port = free_port()
    local = [word.replace("0.0.0.0", "127.0.0.1").replace("9100", port) for word in arguments]  # noqa: S104
    server = command(*local, "--port", "0")
    served = server.address().rpartition(":")[2]
    paths = [CONTAINER[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")]
    until(lambda: [get(f"127.0.0.1:{port}", path)[0] for path in paths] == [200, 200])
    _, *ping, _ = words("HEALTHCHECK")
    asked = [sys.executable, "-m", "framelet_client", *ping, served]
    assert subprocess.run(asked, check=False, stdout=subprocess.DEVNULL, timeout=20).returncode == 0
    server.process.terminate()
    assert server.finish()[0] == 0


def test_the_image_runs_as_nobody_in_particular() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    security = POD["securityContext"]
    assert user == (str(security["runAsUser"]), str(security["runAsGroup"]))
    assert "0" not in user


def test_a_pod_has_time_for_its_drain() -> None:
    from framelet_server import ServerLimits  # noqa: PLC0415 - its defaults are what the pod runs with

    limits = ServerLimits()
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + limits.drain_timeout + limits.linger_timeout < POD["terminationGracePeriodSeconds"]


def test_the_manifests_fit_the_schema_of_kubernetes() -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for manifest in MANIFESTS.values():
        schemas.validate(manifest, "1.34", strict=True)
    # The check is none unless a misspelt field fails.
    with pytest.raises(schemas.ValidationError):
        schemas.validate(MANIFESTS["Service"] | {"spek": {}}, "1.34", strict=True)


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    subprocess.run([linter, str(DEPLOY / "Dockerfile")], check=True, timeout=20)
