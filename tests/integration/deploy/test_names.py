"""The names in the files of deploy/ are those of the code: metrics, and pages of the admin."""

import ast
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.urls import resolve

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
NOTIFICATIONS = ROOT / "notifications"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
WITH_METRICS = [
    DEPLOY / "prometheus" / "alerts.yml",
    DEPLOY / "kubernetes" / "scaling.yaml",
    *DASHBOARDS,
]
METRIC = re.compile(r"\bnotifications_[a-z_]+\b(?=\s*[{\[)])")
SUFFIX = re.compile(r"_(?:total|bucket|count|sum|created)$")


def ours() -> set[str]:
    """The texts of the rooms that name metrics, with the prefix of all."""
    files = [
        file for room in ("metrics", "monitoring") for file in (NOTIFICATIONS / room).glob("*.py")
    ]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {f"notifications_{str(text).removeprefix('notifications_')}" for text in texts}


def test_every_metric_that_is_asked_for_is_one_of_ours() -> None:
    known = ours()
    asked = {name for file in WITH_METRICS for name in METRIC.findall(file.read_text())}
    assert len(asked) > 30
    assert [n for n in sorted(asked) if n not in known and SUFFIX.sub("", n) not in known] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_link_of_a_dashboard_leads_to_a_page_of_the_admin(path: Path) -> None:
    links = re.findall(r'"\$\{web\}([^"]*)"', json.dumps(json.loads(path.read_text())))
    assert links
    for link in links:
        resolved = resolve(urlsplit(link).path)
        assert resolved.url_name != "", link
        assert getattr(resolved.func, "__name__", "") != "catch_all_view", link
