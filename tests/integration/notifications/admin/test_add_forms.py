"""Every form that adds a row can be read before anything is in it."""

from django.contrib import admin
from django.test import Client
from django.urls import reverse


def test_no_form_that_adds_a_row_shows_what_python_calls_a_value(boss: Client) -> None:
    seen = 0
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        shown = boss.get(reverse(f"admin:{name}_add"))
        if shown.status_code == 403:
            continue
        seen += 1
        page = shown.content.decode()
        assert "object at 0x" not in page, name
        assert "DatabaseDefault" not in page, name
    assert seen > 10
