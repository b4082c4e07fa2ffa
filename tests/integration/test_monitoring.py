"""deploy/prometheus and deploy/grafana: a real server has what they name, and promtool finds no fault."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.integration.test_observability import endpoint_of, get

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Command

    Start = Callable[..., Command]

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "framelet.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
ASKED = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
RULES = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing: install Debian's package prometheus"
)


def promtool(*arguments: object, text: str = "") -> None:
    done = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        check=False,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def page(command: Start) -> str:
    """Of a server with several processes, which has all series that there are."""
    server = command("--workers", "2", "--metrics", "0", "--log-level", "info")
    server.address()
    return get(endpoint_of(server), "/metrics")[1]


def test_what_is_asked_for_and_what_is_on_a_page_are_the_same(page: str) -> None:
    there = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    assert len(there) > 20
    shown, alerting = (set(re.findall(r"framelet_\w+", " ".join(found))) for found in (ASKED, RULES))
    parts = {f"framelet_handler_seconds_{part}" for part in ("bucket", "sum", "count")}
    assert alerting <= there | parts
    assert shown == there - {"framelet_handler_seconds"} | parts
    # The labels of each metric are in the table that is held to the code.
    table = (DEPLOY.parent / "docs" / "observability.md").read_text(encoding="utf-8")
    labels = re.findall(r"^\| `framelet_\w+` +\| \w+ +\| `(\w+)`", table, re.MULTILINE)
    for expression in ASKED + RULES:
        grouped = ",".join(re.findall(r"by \(([^)]*)\)", expression))
        used = re.findall(r"\w+", grouped) + re.findall(r"(\w+)=~?\"", expression)
        assert set(used) <= {"job", "instance", "le", *labels}, expression


def test_panels_of_the_dashboard_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_is_told_where_the_unit_answers() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f"--metrics {target}" in (DEPLOY / "framelet.service").read_text(encoding="utf-8")
    assert f'up{{job="{job["job_name"]}"}} == 0' in RULES


@needs_promtool
def test_promtool_finds_no_fault(page: str, tmp_path: Path) -> None:
    promtool("check", "metrics", text=page)
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    promtool("check", "rules", DEPLOY / "prometheus" / "alerts.yml")
    # Grafana puts the range in; what is left is PromQL.
    asked = [{"record": f"r{i}", "expr": e.replace("$__rate_interval", "5m")} for i, e in enumerate(ASKED)]
    groups: Any = {"groups": [{"name": "dashboard", "rules": asked}]}
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(groups))
    promtool("check", "rules", tmp_path / "dashboard.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_else_not() -> None:
    promtool("test", "rules", DEPLOY / "prometheus" / "alerts_test.yml")
    shown = (DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8")
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert f'alertname="{rule["alert"]}"' in shown


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_what_compose_mounts_is_there_and_its_configurations_are_used() -> None:
    services = COMPOSE["services"]
    assert (
        DEPLOY / services["framelet"]["build"]["context"] / services["framelet"]["build"]["dockerfile"]
    ).exists()
    for service in services.values():
        for volume in service.get("volumes", []):
            assert (DEPLOY / volume.split(":")[0]).is_file()
    used = [config["source"] for service in services.values() for config in service.get("configs", [])]
    assert sorted(used) == sorted(COMPOSE["configs"])
    assert all(yaml.safe_load(config["content"]) for config in COMPOSE["configs"].values())


@needs_promtool
def test_the_scrape_configuration_of_compose_is_one(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(COMPOSE["configs"]["prometheus"]["content"], "utf-8")
    (tmp_path / "alerts.yml").write_bytes((DEPLOY / "prometheus" / "alerts.yml").read_bytes())
    promtool("check", "config", tmp_path / "prometheus.yml")
