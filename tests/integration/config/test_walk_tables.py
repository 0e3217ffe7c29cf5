"""The pages come from the URLs and the actions from the admin classes: the tables know each."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import unfold
from django.conf import settings
from django.contrib import admin
from django.http import HttpResponse
from django.urls import get_resolver, path

from config.admin_site import ADMIN_SITE
from notifications.gateways.govuk import urls as govuk
from notifications.models import (
    Notification,
)
from tests.integration.config.walk_tables import (
    ACTIONS,
    BESIDE_ADMIN,
    MODELS,
    OPEN,
    PAGES,
    ROW_ACTIONS,
    label,
)

# Django's own: the way to a row's form, and what answers for an address that there is not.
NAMELESS = ("<path:object_id>/", "(?P<url>.*)$")
ICON_OF_A_STYLE = re.compile(r"content:\s*[\"']([a-z_]{3,})[\"']")
STANDARD = ("changelist", "add", "history", "delete", "change")
# Addresses that ask for no login: see docs/security.md, and the tests that it names.
ELSEWHERE = {
    *("", "api/v1/", "metrics", "webhooks/<str:name>", "unsubscribe/<str:token>"),
    *("preferences/<str:token>", "opened/<str:token>.gif"),
    *("healthz/live", "healthz/ready", "favicon.ico"),
    *(f"v2/{address.pattern}" for address in govuk.urlpatterns),  # test_govuk.py walks these
}


def elsewhere(resolver: Any, before: str = "") -> Iterator[str]:
    """Name every address beside the admin's and the APIs'."""
    for pattern in resolver.url_patterns:
        address = f"{before}{pattern.pattern}"
        if hasattr(pattern, "url_patterns"):
            yield from () if address in ("admin/", "api/v1/") else elsewhere(pattern, address)
        elif getattr(pattern, "name", None) not in BESIDE_ADMIN:
            yield address


def named_pages() -> Iterator[str]:
    """Name every URL of the admin, and of the pages beside it that want a login."""
    for model, page in admin.site._registry.items():
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        for name in names(page.get_urls()):
            if name.removeprefix(prefix) not in STANDARD:
                yield name
    of_models = {str(url.pattern) for url in admin.site.get_urls() if hasattr(url, "url_patterns")}
    assert of_models == {
        f"{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry
    }
    yield from names(url for url in admin.site.get_urls() if not hasattr(url, "url_patterns"))
    yield from BESIDE_ADMIN


def names(urls: Iterable[Any]) -> Iterator[str]:
    """Name these URLs, and those that they lead to; by its pattern what has no name."""
    for url in urls:
        if hasattr(url, "url_patterns"):
            yield from names(url.url_patterns)
        elif url.name or str(url.pattern) not in NAMELESS:
            yield url.name or str(url.pattern)


def test_every_page_and_action_is_in_the_tables() -> None:
    assert {label(model) for model in admin.site._registry} == MODELS.keys()
    assert {*named_pages()} == PAGES.keys() | ROW_ACTIONS.keys() | OPEN
    actions = {
        (label(model), name if isinstance(name, str) else name.__name__)
        for model, page in admin.site._registry.items()
        for name in page.actions or ()
    }
    assert actions == ACTIONS.keys()
    assert [name for name, _ in admin.site.actions] == ["delete_selected"]
    assert {*elsewhere(get_resolver())} == ELSEWHERE


def test_the_font_of_icons_has_those_of_the_menu_of_all_actions_and_of_unfolds_styles() -> None:
    menu = [
        item["icon"] for group in ADMIN_SITE["SIDEBAR"]["navigation"] for item in group["items"]
    ]
    actions = [
        getattr(page, name).icon
        for page in admin.site._registry.values()
        for name in getattr(page, "actions_detail", ())
        if isinstance(name, str)
    ]
    styles = [*(Path(unfold.__path__[0]) / "static").rglob("*.css")]
    drawn = [name for file in styles for name in ICON_OF_A_STYLE.findall(file.read_text())]
    assert "calendar_today" in drawn
    in_font = {*(Path(settings.BASE_DIR) / "deploy" / "icons.txt").read_text().split()}
    assert {*menu, *actions, *drawn} - {None} <= in_font


@pytest.mark.parametrize("name", ["notifications_notification_new", "outbox-new", None])
def test_a_page_or_an_action_that_no_table_knows_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    page = admin.site._registry[Notification]
    with monkeypatch.context() as changed:
        changed.setattr(page, "actions", [*(page.actions or ()), "new"])
        with pytest.raises(AssertionError):
            test_every_page_and_action_is_in_the_tables()
    urls = [path("<path:object_id>/new/", lambda _: HttpResponse(), name=name), *page.get_urls()]
    monkeypatch.setattr(page, "get_urls", lambda: urls)
    with pytest.raises(AssertionError):
        test_every_page_and_action_is_in_the_tables()
