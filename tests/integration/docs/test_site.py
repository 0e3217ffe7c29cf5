"""``make docs`` makes a site that works without other hosts, and fails on a broken link."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.processes import ROOT


def build(source: str | Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command of ``make docs``, as the Makefile has it."""
    (command,) = re.findall(r"^docs:.*\n\t@\$\(PY\) (.+)$", (ROOT / "Makefile").read_text(), re.M)
    *options, _, _ = shlex.split(command)
    return subprocess.run(
        (sys.executable, *options, source, site),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build("docs", folder)
    assert (built.returncode, built.stderr) == (0, "")
    return folder


def test_each_page_is_in_the_site_and_found_by_its_search(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    entries = (site / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").exists()
        assert f'"{page.stem}"' in index
        assert f'href="{page.stem}.html' in entries or page.stem == "index"
    assert (site / "search.html").exists()


def test_the_site_has_a_picture_and_loads_nothing_from_elsewhere(site: Path) -> None:
    assert "<svg" in (site / "_images" / "architecture.svg").read_text()
    assert "_images/architecture.svg" in (site / "architecture.html").read_text()
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//)")
    for page in site.rglob("*.html"):
        assert loads.findall(page.read_text()) == []


def test_the_reference_has_names_types_and_docstrings(site: Path) -> None:
    page = (site / "reference.html").read_text()
    for name in (
        "notifications.submission.send",
        "notifications.submission.asend_many",
        "notifications.submission.fields.Fields",
        "notifications.events.emit",
        "notifications.audiences.send_to_audience",
        "notifications.errors.InvalidField",
        "notifications.testing.sent_notifications",
        "scheduling.jobs.register",
    ):
        assert f'id="{name}"' in page, name
    assert "never waits behind" in page  # the docstring of a field


def test_the_openapi_document_is_there_to_load_and_to_read(site: Path) -> None:
    document = json.loads((site / "openapi.json").read_text())
    assert "/api/v1/notifications" in document["paths"]
    page = (site / "openapi.html").read_text()
    assert '"operationId": "create_notification"' in page
    for name in re.findall(r'(?:src|href)="(_static/[^"]+)"', page):
        assert (site / name).stat().st_size > 1000
    assert 'href="openapi.html"' in (site / "index.html").read_text()


def test_a_broken_link_fails(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    settings = (ROOT / "docs" / "conf.py").read_text()
    place = "HERE = Path(__file__).resolve().parent\n"
    assert place in settings
    (source / "conf.py").write_text(
        settings.replace(place, f"HERE = Path({str(ROOT)!r}) / 'docs'\n")
    )
    (source / "index.md").write_text("# Here\n\n[there](nowhere.md), [part](index.md#nothing)\n")
    built = build(source, tmp_path / "site")
    assert built.returncode == 1
    assert "nowhere.md" in built.stderr
    assert "nothing" in built.stderr
