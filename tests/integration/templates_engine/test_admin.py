import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from templates_engine import preview
from templates_engine.admin.template import VersionInline
from templates_engine.models import Partial, Status, Template, TemplateVersion
from templates_engine.publishing import create_version

pytestmark = pytest.mark.django_db
Publish = Callable[..., TemplateVersion]


@pytest.fixture
def draft(db: None) -> TemplateVersion:
    template = Template.objects.create(name="otp", channel="sms")
    variants = {"default": {"text": "Code {{ code }}"}, "de": {"text": "Kode {{ code }}"}}
    return create_version(template, variants=variants, sample_context={"code": "123"})


def test_no_title_stands_over_each_version_whichever_unfold_there_is() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the later one warns of the earlier one's name
        versions = VersionInline(Template, admin.site)
    assert getattr(versions, "hide_title", False) or not versions.show_title


def change(version: TemplateVersion) -> str:
    return reverse("admin:templates_engine_templateversion_change", args=[version.pk])


def act(version: TemplateVersion, action: str) -> str:
    return reverse(f"admin:templates_engine_templateversion_{action}", args=[version.pk])


def shown(version: TemplateVersion) -> str:
    return reverse("admin:templates_engine_templateversion_preview_page", args=[version.pk])


def form(version: TemplateVersion, **fields: str) -> dict[str, str]:
    given = {
        f"source-{locale}-{part}": source
        for locale, sources in version.variants.items()
        for part, source in sources.items()
    }
    return {**given, "sample_context": '{"code": "123"}', "_continue": "1", **fields}


def author(*permissions: str) -> Client:
    user = User.objects.create_user("author", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_a_draft_is_written_locale_by_locale(admin_client: Client, draft: TemplateVersion) -> None:
    answer = admin_client.post(
        change(draft),
        form(draft, **{"source-de-text": "Ihr Kode {{ code }} {{ shop }}"})
        | {"sample_context": '{"code": "1", "shop": "S"}', "new_locale": "fr"},
    )
    assert answer.status_code == 302
    draft.refresh_from_db()
    assert draft.variants == {
        "default": {"text": "Code {{ code }}"},
        "de": {"text": "Ihr Kode {{ code }} {{ shop }}"},
        "fr": {"text": "Code {{ code }}"},
    }
    assert draft.required == ["code", "shop"]


def test_a_locale_is_removed_by_emptying_it(admin_client: Client, draft: TemplateVersion) -> None:
    admin_client.post(change(draft), form(draft, **{"source-de-text": " "}))
    draft.refresh_from_db()
    assert draft.variants.keys() == {"default"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source-de-text": "a\n{{ b c }}"}, "line 2, column 6"),
        ({"source-default-text": ""}, "It needs text"),
        ({"source-default-text": "{{ code }}{{ missing }}"}, "needs missing"),
        ({"sample_context": "{}"}, "Give sample values for: code"),
        ({"sample_context": "[1]"}, "JSON object"),
        ({"sample_context": "{"}, "valid JSON"),
        ({"context_schema": '{"type": 1}'}, "wrong at type"),
        ({"new_locale": "!"}, "not a locale"),
        (
            {"source-default-text": "{% for i in range(9**9) %}{% endfor %}"},
            "than one message may",
        ),
        ({"source-default-text": "{% for a in code %}" * 30 + "{% endfor %}" * 30}, "too deeply"),
    ],
)
def test_what_could_not_be_sent_is_refused_in_the_form(
    admin_client: Client, draft: TemplateVersion, fields: dict[str, str], message: str
) -> None:
    answer = admin_client.post(change(draft), form(draft, **fields))
    assert answer.status_code == 200
    assert message in answer.content.decode().replace("&#x27;", "'")
    before = dict(draft.variants)
    draft.refresh_from_db()
    assert draft.variants == before


def test_publishing_is_logged(admin_client: Client, draft: TemplateVersion) -> None:
    admin_client.post(act(draft, "publish"), {"_form_submitted": "on"})
    draft.refresh_from_db()
    assert draft.status == Status.PUBLISHED
    assert "Published" in LogEntry.objects.latest("id").change_message


def test_rolling_back_is_logged(admin_client: Client, make_published: Publish) -> None:
    first = make_published("otp", parts={"text": "one"})
    make_published("otp", parts={"text": "two"})
    admin_client.post(act(first, "roll_back"), {"_form_submitted": "on"})
    first.refresh_from_db()
    assert first.status == Status.PUBLISHED
    assert "Rolled back" in LogEntry.objects.latest("id").change_message


def test_publishing_asks_for_confirmation_first(
    admin_client: Client, draft: TemplateVersion
) -> None:
    answer = admin_client.get(act(draft, "publish"))
    assert "Publish this version?" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.status == Status.DRAFT


def test_who_may_write_may_not_therefore_publish(draft: TemplateVersion) -> None:
    client = author("change_templateversion", "view_templateversion")
    assert client.get(change(draft)).status_code == 200
    answer = client.post(act(draft, "publish"), {"_form_submitted": "on"})
    assert answer.status_code == 403
    draft.refresh_from_db()
    assert draft.status == Status.DRAFT


def test_who_may_not_view_gets_no_preview(draft: TemplateVersion) -> None:
    assert author("view_partial").get(shown(draft)).status_code == 403


def test_a_published_version_is_only_read(admin_client: Client, make_published: Publish) -> None:
    version = make_published("otp", parts={"text": "one <b>"})
    page = admin_client.get(change(version))
    assert "one &lt;b&gt;" in page.content.decode()
    answer = admin_client.post(change(version), form(version))
    assert answer.status_code == 403
    delete = reverse("admin:templates_engine_templateversion_delete", args=[version.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403


def test_a_draft_that_a_layout_broke_is_not_published(
    admin_client: Client, draft: TemplateVersion
) -> None:
    Partial.objects.create(name="foot", source="x")
    admin_client.post(change(draft), form(draft, **{"source-de-text": "{% include 'foot' %}"}))
    Partial.objects.update(source="{{ new }}")
    admin_client.post(act(draft, "publish"), {"_form_submitted": "on"})
    draft.refresh_from_db()
    assert draft.status == Status.DRAFT


@pytest.mark.parametrize("channel", ["email", "sms", "push", "webhook", "chat", "simulator"])
def test_a_new_template_starts_with_a_draft_that_can_be_sent(
    admin_client: Client, channel: str
) -> None:
    fields = {"name": "hello", "channel": channel, "category": "transactional"}
    answer = admin_client.post(reverse("admin:templates_engine_template_add"), fields)
    draft = TemplateVersion.objects.get()
    assert answer.url == change(draft)  # type: ignore[attr-defined]
    assert admin_client.get(change(draft)).status_code == 200
    assert "Ada" in admin_client.get(shown(draft)).content.decode()


def test_a_new_version_starts_from_the_one_that_is_live(
    admin_client: Client, make_published: Publish
) -> None:
    live = make_published("otp", parts={"text": "one"})
    page = reverse("admin:templates_engine_template_new_version", args=[live.template_id])
    admin_client.get(page)
    assert not TemplateVersion.objects.filter(status=Status.DRAFT).exists()
    answer = admin_client.post(page, {"_form_submitted": "on"})
    draft = TemplateVersion.objects.get(status=Status.DRAFT)
    assert answer.url == change(draft)  # type: ignore[attr-defined]
    assert (draft.number, draft.variants) == (2, live.variants)


def test_a_layout_that_cannot_be_used_is_refused(admin_client: Client) -> None:
    page = reverse("admin:templates_engine_partial_add")
    bad = admin_client.post(page, {"name": "foot", "source": "{% include 'foot' %}"})
    assert "is a circle of references" in bad.content.decode()
    bad = admin_client.post(page, {"name": "foot", "source": "{{ a b }}"})
    assert "line 1, column 6" in bad.content.decode()
    assert not Partial.objects.exists()
    admin_client.post(page, {"name": "foot", "source": "fine {{ x }}"})
    assert Partial.objects.get().source == "fine {{ x }}"


def test_the_preview_shows_an_sms_with_its_segments(
    admin_client: Client, draft: TemplateVersion
) -> None:
    page = admin_client.get(shown(draft)).content.decode()
    assert "Code 123" in page
    assert "1 segment, 8 characters, GSM-7" in page
    given = {"locale": "de", "context": '{"code": "\u0436"}'}
    page = admin_client.post(shown(draft), given).content.decode()
    assert "Kode \u0436" in page
    assert "forces UCS-2" in page


def test_the_preview_shows_slacks_blocks_and_the_data_of_a_push(
    admin_client: Client, make_published: Publish
) -> None:
    blocks = '[{"type": "section", "text": {"type": "mrkdwn", "text": "*{{ n }}*"}}]'
    parts = {"text": "{{ n }}", "blocks": blocks}
    chat = make_published("chat", "chat", parts=parts, sample_context={"n": "Zo\u00eb"})
    page = admin_client.get(shown(chat)).content.decode()
    assert "Blocks" in page
    assert "*Zo\u00eb*" in page
    parts = {"title": "T", "body": "B", "data": '{"order": {{ n }}}'}
    push = make_published("push", "push", parts=parts, sample_context={"n": 7})
    page = admin_client.get(shown(push)).content.decode()
    assert "Data" in page
    assert "&quot;order&quot;: &quot;7&quot;" in page


def test_the_preview_keeps_html_in_a_sandboxed_frame(
    admin_client: Client, make_published: Publish
) -> None:
    mail = make_published(
        "mail",
        "email",
        parts={"subject": "S", "html": "<p>Hi {{ n }}</p>"},
        sample_context={"n": "<script>x</script>"},
    )
    page = admin_client.get(shown(mail)).content.decode()
    assert page.count('sandbox=""') == 2
    assert "<script>x" not in page
    assert 'srcdoc="&lt;p&gt;Hi &amp;lt;script' in page


def test_the_preview_tells_what_is_missing(admin_client: Client, draft: TemplateVersion) -> None:
    page = admin_client.post(shown(draft), {"locale": "default", "context": "{}"})
    assert "needs code" in page.content.decode()


@pytest.fixture
def sent() -> Iterator[list[tuple[Any, str]]]:
    tests: list[tuple[Any, str]] = []

    def send(shown: preview.Preview, recipient: str, _by: object) -> str:
        tests.append((shown.content, recipient))
        return "A test is on its way."

    before = dict(preview.test_senders)
    preview.test_senders.clear()
    preview.test_senders["*"] = send
    yield tests
    preview.test_senders.clear()
    preview.test_senders.update(before)


def test_a_test_is_sent_by_who_has_registered_for_it(
    admin_client: Client, draft: TemplateVersion, sent: list[tuple[Any, str]]
) -> None:
    given = {"locale": "default", "context": '{"code": "9"}', "recipient": "+491", "send_test": "1"}
    page = admin_client.post(shown(draft), given)
    assert sent == [({"text": "Code 9"}, "+491")]
    assert "A test is on its way." in page.content.decode()
    admin_client.post(shown(draft), given | {"recipient": ""})
    assert len(sent) == 1


def test_a_test_is_sent_only_by_who_has_the_permission_for_it(
    draft: TemplateVersion, sent: list[tuple[Any, str]]
) -> None:
    given = {"locale": "default", "context": '{"code": "9"}', "recipient": "+491", "send_test": "1"}
    viewer = author("view_templateversion")
    assert viewer.post(shown(draft), given).status_code == 403
    assert "Send a test" not in viewer.get(shown(draft)).content.decode()
    assert sent == []
    permission = Permission.objects.get(codename="test_templateversion")
    User.objects.get(username="author").user_permissions.add(permission)
    assert viewer.post(shown(draft), given).status_code == 200
    assert [recipient for _, recipient in sent] == ["+491"]


def test_a_template_is_deleted_until_a_version_was_published_then_archived(
    admin_client: Client, draft: TemplateVersion
) -> None:
    unused = Template.objects.create(name="unused", channel="email")
    create_version(unused, variants={"default": {"subject": "S", "text": "T"}})
    gone = reverse("admin:templates_engine_template_delete", args=[unused.pk])
    counted = dict(admin_client.get(gone).context["model_count"])
    assert counted == {"templates": 1, "drafts": 1}
    assert admin_client.post(gone, {"post": "yes"}).status_code == 302
    assert not Template.objects.filter(pk=unused.pk).exists()

    template = draft.template
    admin_client.post(act(draft, "publish"), {"_form_submitted": "on"})
    page = reverse("admin:templates_engine_template_change", args=[template.pk])
    assert "Archive" in admin_client.get(page).content.decode()
    gone = reverse("admin:templates_engine_template_delete", args=[template.pk])
    assert admin_client.post(gone, {"post": "yes"}).status_code == 403
    archive = reverse("admin:templates_engine_template_withdraw", args=[template.pk])
    admin_client.post(archive, {"_form_submitted": "on"})
    draft.refresh_from_db()
    assert draft.status == Status.ARCHIVED
    assert "Archive this template?" not in admin_client.get(page).content.decode()


def test_a_version_shows_what_changed_since_the_one_before(
    admin_client: Client, draft: TemplateVersion
) -> None:
    assert "It is the first one." in admin_client.get(change(draft)).content.decode()
    variants = {**draft.variants, "default": {"text": "Your code {{ code }}"}}
    again = create_version(draft.template, variants=variants, sample_context={"code": "1"})
    page = admin_client.get(change(again)).content.decode()
    assert "-Code {{ code }}\n+Your code {{ code }}" in page
    assert "-Kode" not in page


def test_any_two_versions_are_compared(admin_client: Client, make_published: Publish) -> None:
    for text in ("One {{ code }}", "Two {{ code }}", "Three {{ code }}"):
        version = make_published("otp", parts={"text": text}, sample_context={"code": "1"})
    where = reverse("admin:templates_engine_templateversion_compare_page", args=[version.pk])
    page = admin_client.get(where, {"with": "1"}).content.decode()
    assert "-One {{ code }}\n+Three {{ code }}" in page
    assert "Two" not in page
    assert "say the same" in admin_client.get(where, {"with": "3"}).content.decode()
    assert admin_client.get(where, {"with": "nothing"}).status_code == 200  # the one before
    assert admin_client.get(where, {"with": "99"}).status_code == 200
    assert author().get(where).status_code == 403


def test_who_wrote_a_draft_asks_a_colleague_to_publish_it(
    admin_client: Client, admin_user: User, draft: TemplateVersion, settings: Any
) -> None:
    settings.TEMPLATES_TWO_PERSON_RULE = True
    writer = author(
        "view_templateversion", "change_templateversion", "publish_templateversion", "view_template"
    )
    writer.post(change(draft), form(draft, **{"source-de-text": "Ihr Kode {{ code }}"}))
    refused = writer.post(act(draft, "publish"), {"_form_submitted": "on"}, follow=True)
    assert "check and publish it" in refused.content.decode()
    draft.refresh_from_db()
    assert draft.status == Status.DRAFT
    writer.post(act(draft, "ask"), {"_form_submitted": "on"})
    versions = reverse("admin:templates_engine_templateversion_changelist")
    assert "otp v1" in admin_client.get(versions, {"asked": "yes"}).content.decode()
    assert "author asks" in admin_client.get(change(draft)).content.decode()

    admin_client.post(act(draft, "publish"), {"_form_submitted": "on"})
    draft.refresh_from_db()
    assert draft.status == Status.PUBLISHED
    assert draft.edited_by == User.objects.get(username="author")
    assert draft.published_by == admin_user
    assert "published by admin" in admin_client.get(change(draft)).content.decode()
    assert "otp v1" not in admin_client.get(versions, {"asked": "yes"}).content.decode()


def test_a_colleague_who_edits_is_an_author_too_and_is_to_be_asked_anew(
    admin_client: Client, draft: TemplateVersion, settings: Any
) -> None:
    settings.TEMPLATES_TWO_PERSON_RULE = True
    writer = author("view_templateversion", "change_templateversion", "publish_templateversion")
    TemplateVersion.objects.filter(pk=draft.pk).update(
        created_by=User.objects.get(username="author")
    )
    writer.post(act(draft, "ask"), {"_form_submitted": "on"})
    admin_client.post(change(draft), form(draft, **{"source-de-text": "Neu {{ code }}"}))
    draft.refresh_from_db()
    assert draft.asked_by is None
    for client in (admin_client, writer):
        client.post(act(draft, "publish"), {"_form_submitted": "on"})
        draft.refresh_from_db()
        assert draft.status == Status.DRAFT


def test_the_preview_shows_light_and_dark_and_the_source(
    admin_client: Client, make_published: Publish
) -> None:
    style = "<style>@media (prefers-color-scheme: dark) { p { color: red } }</style>"
    mail = make_published("mail", "email", parts={"subject": "S", "html": f"{style}<p>Hi</p>"})
    light = admin_client.get(shown(mail)).content.decode()
    dark = admin_client.post(shown(mail), {"locale": "default", "scheme": "dark"}).content.decode()
    frame = "srcdoc=&quot;".replace("&quot;", '"')
    assert "(min-width: 0)" not in light.split(frame)[1]
    assert "(min-width: 0)" in dark.split(frame)[1]
    for page in (light, dark):  # the source is as it is sent
        assert "(prefers-color-scheme: dark)" in page.split("tp-source")[-1]
