import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from templates_engine import catalog, triggers
from templates_engine.errors import VersionNotFound
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish

Publish = Callable[..., TemplateVersion]

PUBLISH_ELSEWHERE = textwrap.dedent(
    """
    import django
    django.setup()
    from templates_engine.models import Template
    from templates_engine.publishing import create_version, publish
    publish(create_version(Template.objects.get(name="otp"), {"text": "two"}))
    """
)


@pytest.mark.django_db(transaction=True)
def test_a_publish_by_another_process_is_seen_without_a_restart(
    make_published: Publish, child_env: dict[str, str], wait_until: Callable[..., object]
) -> None:
    make_published("otp", parts={"text": "one"})
    assert catalog.published("otp").render({}) == {"text": "one"}
    env = child_env | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    subprocess.run([sys.executable, "-c", PUBLISH_ELSEWHERE], env=env, check=True)
    wait_until(lambda: catalog.published("otp").render({}) == {"text": "two"})


def test_the_cache_asks_the_database_once_in_its_time(
    make_published: Publish,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[..., Any],
) -> None:
    make_published("otp", parts={"text": "one"})
    now = time.monotonic()
    monkeypatch.setattr(catalog, "monotonic", lambda: now)
    catalog.published("otp")
    with django_assert_num_queries(0):
        compiled = catalog.published("otp")
    now += catalog.FRESH_SECONDS
    with django_assert_num_queries(1):
        assert catalog.published("otp") is compiled


def test_the_promise_of_two_seconds_holds_by_the_interval() -> None:
    assert catalog.FRESH_SECONDS < 2


def test_the_cache_is_bounded(
    make_published: Publish,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[..., Any],
) -> None:
    monkeypatch.setattr(catalog, "KEPT_VERSIONS", 2)
    ids = [make_published(f"t{number}", parts={"text": str(number)}).pk for number in range(3)]
    for version_id in ids:
        catalog.version(version_id)
    with django_assert_num_queries(0):
        catalog.version(ids[2])
        catalog.version(ids[1])
    with django_assert_num_queries(1):
        catalog.version(ids[0])


def test_a_version_that_is_not_there_is_named(db: None) -> None:
    with pytest.raises(VersionNotFound, match="4711"):
        catalog.version(4711)


def test_a_draft_is_not_kept_as_it_may_change(make_published: Publish) -> None:
    template = Template.objects.create(name="otp", channel="sms")
    draft = create_version(template, {"text": "one"})
    assert catalog.version(draft.pk).render({}) == {"text": "one"}
    TemplateVersion.objects.filter(pk=draft.pk).update(compiled={"default": {"text": "two"}})
    assert catalog.version(draft.pk).render({}) == {"text": "two"}


def test_a_version_whose_publish_was_rolled_back_is_not_served_under_its_id(
    make_published: Publish,
) -> None:
    version = make_published("otp", parts={"text": "one"})
    catalog.published("otp")
    # As on SQLite, where the id of a rolled-back row is given out again.
    triggers.remove(connection)  # they see a change of one row here
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE templates_engine_templateversion SET compiled = %s, checksum = 'other'"
            " WHERE id = %s",
            ['{"default": {"text": "two"}}', version.pk],
        )
    triggers.install(connection)
    catalog.forget("otp")
    assert catalog.published("otp").render({}) == {"text": "two"}


@pytest.mark.django_db(transaction=True)
def test_threads_see_only_whole_versions_while_others_publish(make_published: Publish) -> None:
    version = make_published("otp", parts={"text": "0 0"})
    ends = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not ends.is_set():
            first, second = str(catalog.published("otp").render({})["text"]).split()
            if first != second:
                torn.append((first, second))
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 8):
        publish(create_version(version.template, {"text": f"{number} {number}"}))
    ends.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert catalog.published("otp").render({}) == {"text": "7 7"}
