"""A real Prometheus scrapes the real processes: every query has data, and an outage its alert."""

import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications.models import Notification, Status
from notifications.operations import api_keys
from tests.integration.deploy.test_rules import DASHBOARDS, PROMETHEUS
from tests.servers.process import free_port
from tests.servers.processes import Processes

PROGRAM = shutil.which("prometheus") or ""

pytestmark = pytest.mark.skipif(
    not PROGRAM, reason="Prometheus is not here: apt-get install prometheus"
)
SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


class Prometheus:
    """A Prometheus that scrapes these addresses every second, with our rules."""

    def __init__(self, processes: Processes, folder: Any, targets: Any) -> None:
        self.port = free_port()
        rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
        for group in rules["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "2s"  # the test waits for what an operator would
        (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for name, port in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process = processes.start(
            "prometheus",
            PROGRAM,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )

    def query(self, expression: Any) -> Any:
        found = self._get("query", query=expression)
        return found["result"] if found else []

    def firing(self) -> set[Any]:
        found = self._get("alerts")
        alerts = found["alerts"] if found else []
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

    def _get(self, what: Any, **query: Any) -> Any:
        address = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                return json.loads(response.read())["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is just starting
                return None
            raise AssertionError(error.read().decode()) from error
        except OSError:
            return None


@pytest.fixture
def system(processes: Processes, tmp_path: Path) -> Any:
    """Web, worker and scheduler under a Prometheus."""
    _, address = processes.web()
    worker = processes.worker("-c", "2")
    beat = processes.beat()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    prometheus = Prometheus(processes, folder, {"web": int(address.rpartition(":")[2])})
    token = api_keys.create("test").token
    return (
        prometheus,
        (worker, beat),
        lambda **fields: post(f"{address}/api/v1/notifications", token, fields),
    )


def post(address: str, token: str, fields: Any) -> None:
    """Accept over HTTP, so that it is the web that counts."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(fields).encode(), headers)
    urllib.request.urlopen(request, timeout=20).close()


def queries() -> Iterator[Any]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                yield rule["record"], rule["record"]
            for series in sorted(set(re.findall(r"\bnotifications_[a-z_]+", rule["expr"]))):
                # An alert gives nothing while all is well; what it looks at has to be there.
                yield f"{rule.get('alert', rule.get('record'))}: {series}", series


def test_every_panel_has_data_after_a_run_and_a_dead_worker_and_scheduler_are_alerts(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    prometheus, (worker, beat), accept = system
    wait_until(lambda: prometheus.query("notifications_schedulers_alive > 0"))

    def some_of_each() -> None:
        for priority in ("high", "medium", "low"):
            accept(**{**SIMULATED, "priority": priority})
        accept(**{**SIMULATED, "recipient": "ada?result=permanent&code=550"})
        accept(**{**SIMULATED, "recipient": "ada?result=transient&code=503&times=1"})
        hopeless = {"recipient": "ada?result=transient", "expires": 3}
        accept(**{**SIMULATED, **hopeless, "priority": "high"})

    def without_data() -> list[Any]:
        some_of_each()
        return [name for name, expression in queries() if not prometheus.query(expression)]

    missing = without_data()
    for _ in range(60):
        if not missing:
            break
        missing = without_data()
    assert missing == []
    assert Notification.objects.filter(status=Status.SENT).exists()

    worker.kill()
    beat.kill()
    dead = {"NotificationsNoWorker", "NotificationsNoScheduler"}
    wait_until(lambda: dead <= prometheus.firing())
