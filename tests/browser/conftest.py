"""A real Chromium at the real system, on loopback only.

Set SCREENSHOTS to a folder to keep a picture of each page; ``make screenshots`` keeps those of the
docs.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests import registries
from tests.servers.processes import Processes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
IN_DOCS = (
    *("flow-send-outlook", "flow-write-compare", "flow-story", "flow-mend-dry-run"),
    *("flow-plan-calendars", "flow-watch"),
)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """The browser, gone with these tests: its loop is in others' way. Skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not here: apt-get install chromium")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    # Playwright runs an event loop in this thread, and Django takes that for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core. Skips where it cannot be had."""
    script = registries.npm("axe-core@4") / "node_modules" / "axe-core" / "axe.min.js"
    return script.read_text()


@pytest.fixture
def calendars(tmp_path: Path, settings: Any) -> Path:
    """The folder of calendars, of the processes and of this one."""
    folder = tmp_path / "calendars"
    folder.mkdir()
    settings.SCHEDULING_CALENDARS = str(folder)
    return folder


@pytest.fixture
def system(request: pytest.FixtureRequest, processes: Processes, calendars: Path) -> Any:
    """Web, worker and scheduler, with the outbox for every channel; return the web's address.

    A test that is parametrized ``indirect`` gives more of the environment.
    """
    env = {"OUTBOX": "1", "SCHEDULING_CALENDARS": str(calendars), **getattr(request, "param", {})}
    _, address = processes.web(**env)
    processes.worker("-c", "2", **env)
    processes.beat(**env)
    return address


@pytest.fixture
def admin_user(transactional_db: None) -> User:
    return User.objects.create_superuser("admin", password="correct horse")


@pytest.fixture
def shoot() -> Callable[..., None]:
    """Keep a picture of a page, where SCREENSHOTS or DOCS_IMAGES names a folder."""
    folder, docs = os.environ.get("SCREENSHOTS"), os.environ.get("DOCS_IMAGES")

    def shoot(page: Any, name: str) -> None:
        if docs and name in IN_DOCS:  # what one sees first, small enough to be kept with the docs
            where = Path(docs) / f"{name}.jpg"
            page.screenshot(path=where, type="jpeg", quality=55)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return shoot


@pytest.fixture
def open_page(chromium: Any, system: Any, admin_user: User) -> Iterator[Callable[..., Any]]:
    """A page: ``open_page(width=…, dark=…)``; it notes an error or outside request as trouble.

    The admin is logged in there, or another ``user`` with the same password; nobody, where
    ``logs_in`` is false.
    ``zone`` is the browser's; the page is there once it shows times in it.
    """
    contexts = []

    def open_page(
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        zone: str = "",
        logs_in: bool = True,
        user: str = "admin",
    ) -> Any:
        context = chromium.new_context(
            timezone_id=zone or None,
            permissions=["clipboard-read", "clipboard-write"],
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            base_url=system,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.troubles = []
        page.on("console", lambda message: _note_policy(page, message))
        page.on("pageerror", lambda error: page.troubles.append(f"script error: {error}"))
        page.on("request", lambda request: _note_outside(page, request, system))
        page.on("response", lambda response: _note_failure(page, response))
        if not logs_in:
            return page
        page.goto("/admin/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", "correct horse")
        page.click("button[type=submit]")
        page.wait_for_url("**/admin/")
        return page

    yield open_page
    for context in contexts:
        context.close()


def _note_outside(page: Any, request: Any, system: str) -> None:
    if not request.url.startswith((system, "data:", "about:", "blob:")):
        page.troubles.append(f"asks outside: {request.url}")


def _note_policy(page: Any, message: Any) -> None:
    if "Content Security Policy" in message.text:
        page.troubles.append(f"against the policy: {message.text}")


def _note_failure(page: Any, response: Any) -> None:
    if response.status >= 400:
        page.troubles.append(f"{response.status}: {response.url}")
