import threading
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction

from templates_engine import catalog
from templates_engine.errors import (
    MissingVariables,
    TemplateNotFound,
    TemplateNotPublished,
    VersionImmutable,
    VersionNotFound,
)
from templates_engine.models import Status, Template, TemplateVersion
from templates_engine.publishing import create_version, publish, roll_back

Publish = Callable[..., TemplateVersion]


def test_a_published_template_renders_its_content(make_published: Publish) -> None:
    make_published("otp", parts={"text": "Your code is {{ code }}"})
    assert catalog.published("otp").render({"code": "123"}) == {"text": "Your code is 123"}


def test_a_missing_variable_is_refused_by_name(make_published: Publish) -> None:
    make_published("otp", parts={"text": "{{ code }} {{ shop }}"})
    with pytest.raises(MissingVariables) as refused:
        catalog.published("otp").check({"code": 1})
    assert refused.value.names == ["shop"]


def test_publishing_archives_what_was_live(make_published: Publish) -> None:
    first = make_published("otp", parts={"text": "one"})
    make_published("otp", parts={"text": "two"})
    first.refresh_from_db()
    assert first.status == Status.ARCHIVED


@pytest.mark.django_db
def test_a_template_that_is_not_there_is_named() -> None:
    with pytest.raises(TemplateNotFound, match="otp"):
        catalog.published("otp")


@pytest.mark.django_db
def test_a_template_without_a_published_version_is_told_from_an_unknown_one() -> None:
    create_version(Template.objects.create(name="otp", channel="sms"), {"text": "x"})
    with pytest.raises(TemplateNotPublished):
        catalog.published("otp")


@pytest.mark.django_db(transaction=True)
def test_the_publishing_process_sees_its_publish_and_roll_back_at_once(
    make_published: Publish,
) -> None:
    first = make_published("otp", parts={"text": "one"})
    assert catalog.published("otp").render({}) == {"text": "one"}
    make_published("otp", parts={"text": "two"})
    assert catalog.published("otp").render({}) == {"text": "two"}
    roll_back(first.template, to_number=1)
    assert catalog.published("otp").render({}) == {"text": "one"}


def test_a_pinned_version_renders_as_before_after_a_newer_one_went_live(
    make_published: Publish,
) -> None:
    first = make_published("otp", parts={"text": "one"})
    make_published("otp", parts={"text": "two"})
    assert catalog.version(first.pk).render({}) == {"text": "one"}


def test_only_a_version_that_was_live_can_be_gone_back_to(make_published: Publish) -> None:
    version = make_published("otp", parts={"text": "one"})
    create_version(version.template, {"text": "a draft"})
    with pytest.raises(VersionNotFound):
        roll_back(version.template, to_number=2)


def test_published_content_cannot_be_changed_by_any_route(make_published: Publish) -> None:
    version = make_published("otp", parts={"text": "one"})
    version.variants = {"default": {"text": "two"}}
    rows = TemplateVersion.objects.filter(pk=version.pk)
    with pytest.raises(VersionImmutable):
        version.save()
    with pytest.raises(VersionImmutable):
        rows.update(variants={})
    with pytest.raises(VersionImmutable):
        TemplateVersion.objects.bulk_update([version], ["variants"])
    with pytest.raises(VersionImmutable):
        version.delete()
    with pytest.raises(VersionImmutable):
        publish(version)


def test_a_draft_saved_late_does_not_take_a_published_version_back(
    make_published: Publish,
) -> None:
    live = make_published("otp", parts={"text": "one"})
    stale = TemplateVersion.objects.get(pk=live.pk)
    stale.status = Status.DRAFT  # as it was read before somebody published it
    with pytest.raises(VersionImmutable):
        stale.save()
    live.refresh_from_db()
    assert live.status == Status.PUBLISHED


def test_the_database_holds_at_most_one_published_version_of_a_template(
    make_published: Publish,
) -> None:
    version = make_published("otp", parts={"text": "one"})
    draft = create_version(version.template, {"text": "two"})
    with pytest.raises(IntegrityError), transaction.atomic():
        TemplateVersion.objects.filter(pk=draft.pk).update(status=Status.PUBLISHED)


@pytest.mark.django_db(transaction=True)
def test_racing_publishers_leave_one_version_live() -> None:
    template = Template.objects.create(name="otp", channel="sms")
    drafts = [create_version(template, {"text": str(number)}) for number in range(6)]

    def run(draft: TemplateVersion) -> None:
        publish(draft)
        connection.close()

    threads = [threading.Thread(target=run, args=(draft,)) for draft in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [version.status for version in template.versions.all()]
    assert sorted(statuses) == [*[Status.ARCHIVED] * 5, Status.PUBLISHED]
