from collections.abc import Callable, Iterator
from typing import Any

import pytest

from templates_engine import catalog
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish


@pytest.fixture(autouse=True)
def empty_catalog() -> Iterator[None]:
    catalog.clear()
    yield
    catalog.clear()


@pytest.fixture
def make_published(db: None) -> Callable[..., TemplateVersion]:
    def make(name: str, channel: str = "sms", **content: Any) -> TemplateVersion:
        template, _ = Template.objects.get_or_create(name=name, defaults={"channel": channel})
        return publish(create_version(template, **content))

    return make
