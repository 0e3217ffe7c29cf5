"""A batch that is uploaded as CSV."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from pytest_django import Settings

from notifications.models import Batch, Notification
from notifications.submission import save_recipient
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import SIMULATED, Caller

CSV = """\
recipient,name,idempotency_key
ada,Ada,a
bob,"Bob
the second",b
,Nobody,c
eve,Eve,d
"""


@pytest.fixture
def greeting(db: None) -> TemplateVersion:
    template = Template.objects.create(name="greeting", channel="simulator")
    return publish(create_version(template, {"body": "Hello {{ name }}", "subject": "Hi"}))


def post_csv(call: Caller, text: str | bytes, content_type: str = "text/csv", **query: Any) -> Any:
    return Client().generic(  # post() would encode it anew
        "POST",
        "/api/v1/notifications/batch",
        text if isinstance(text, bytes) else text.encode(),
        content_type=content_type,
        headers=call.headers,
        query_params=query,
    )


def test_the_rows_of_a_csv_share_what_its_query_names(
    call: Caller, greeting: TemplateVersion, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    shared = {"channel": "simulator", "template": "greeting"}
    url = "http://127.0.0.1:9/told"
    made = post_csv(call, "recipient,name\nada,Ada\n", **shared, countdown="600", callback_url=url)
    assert (made.status_code, made.json()["accepted"]) == (202, 1)
    row = Notification.objects.get()
    assert row.callback_url == url
    assert row.scheduled_at > row.created_at + timedelta(minutes=9)
    for query in ({"countdown": "soon"}, {"countdown": "nan"}, {"callback_url": "no-url"}):
        refused = post_csv(call, "recipient,name\nada,Ada\n", **shared, **query).json()
        (field,) = query
        assert field in (refused.get("field"), *(e["field"] for e in refused.get("errors", ())))
    assert Notification.objects.count() == 1


def test_a_csv_fills_the_template_row_by_row(call: Caller, greeting: TemplateVersion) -> None:
    response = post_csv(call, CSV, channel="simulator", template="greeting")
    assert response.status_code == 202, response.content
    made = response.json()
    assert (made["accepted"], made["refused"]) == (3, 1)
    bob = Notification.objects.get(recipient="bob")
    assert bob.context == {"name": "Bob\nthe second"}
    assert bob.idempotency_key == "b"
    assert bob.template_version == greeting


def test_a_refused_row_is_named_with_its_line(call: Caller, greeting: TemplateVersion) -> None:
    made = post_csv(call, CSV, channel="simulator", template="greeting").json()
    (error,) = made["errors"]
    assert (error["row"], error["line"], error["field"]) == (3, 5, "recipient")
    kept = call.ok("GET", f"/notifications/batch/{made['id']}")
    assert kept["errors"] == made["errors"]


def test_a_csv_names_stored_recipients_categories_and_local_times(call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "sale", "channel": "simulator", "category": "marketing"})
    call.ok("POST", "/templates/sale/versions", {"parts": {"body": "Sale, {{ name }}"}})
    call.ok("POST", "/templates/sale/versions/1/publish")
    save_recipient("c-1", addresses={"simulator": "ada"}, timezone="Asia/Tokyo")
    text = "to,recipient,category,local_time,name\nc-1,,billing,09:00,Ada\nc-1,work,,,Ada\n"
    text += "c-1,,nope,,Ada\nc-1,,,9,Ada\n,eve,,,Eve\n"
    made = post_csv(call, text, channel="simulator", template="sale").json()
    assert [(error["line"], error["field"]) for error in made["errors"]] == [
        (4, "category"),
        (5, "local_time"),
    ]
    ada, work, eve = Notification.objects.order_by("pk")
    assert (ada.recipient, ada.category, ada.context) == ("ada", "billing", {"name": "Ada"})
    assert f"{ada.scheduled_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" == "09:00"
    assert (work.recipient, work.recipient_key, work.reason) == ("work", "c-1", "consent_missing")
    assert (eve.recipient, eve.recipient_key, eve.status) == ("eve", "", "queued")
    # An empty category is none: that of all rows, else that of the template.
    shared = {"channel": "simulator", "template": "sale", "context": {"name": "Ada"}}
    rows = [{"to": {"recipient": "c-1"}, "category": ""}]
    for common in (shared, {**shared, "category": "marketing"}):
        call.ok("POST", "/notifications/batch", {"common": common, "notifications": rows})
        assert Notification.objects.latest("pk").reason == "consent_missing"
    common = {**shared, "category": "billing"}
    call.ok("POST", "/notifications/batch", {"common": common, "notifications": rows})
    assert Notification.objects.latest("pk").category == "billing"


def test_a_csv_that_is_uploaded_again_gives_the_first_batch_back(
    call: Caller, greeting: TemplateVersion
) -> None:
    headers = call.headers
    call.headers = {**headers, "Idempotency-Key": "april"}
    first = post_csv(call, CSV, channel="simulator", template="greeting")
    again = post_csv(call, CSV, channel="simulator", template="greeting")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    other = post_csv(call, CSV + "zoe,Zoe,e\n", channel="simulator", template="greeting")
    assert other.json()["type"].endswith("/idempotency-conflict")
    assert (Batch.objects.count(), Notification.objects.count()) == (1, 3)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("name\nAda\n", "Line 1 names the columns: recipient or to is missing."),
        ("recipient,recipient\na,b\n", "Line 1: two columns are named recipient."),
        ("recipient\n", "There is no row in it."),
        ("recipient\n" + 'x","y\n' * 20_000, "too many quotation marks"),
    ],
    ids=["no recipient", "twice", "empty", "quotes"],
)
def test_a_csv_that_cannot_be_read_says_why(call: Caller, text: str, detail: str) -> None:
    response = post_csv(call, text, channel="simulator", template="x")
    assert response.status_code == 422
    assert detail in response.json()["detail"]
    assert not Batch.objects.exists()


def test_a_row_of_a_csv_that_cannot_be_read_stops_no_other(
    call: Caller, greeting: TemplateVersion
) -> None:
    text = b'sep=;\nrecipient;name;\nada; Ada ;\nbob\n\neve;"E"v"e";\nmia;J\xf6rg;\n;;\nzoe;"Zoe'
    made = post_csv(call, text, channel="simulator", template="greeting").json()
    assert (made["accepted"], made["refused"], made["blank"]) == (1, 4, 2)
    assert Notification.objects.get().context == {"name": "Ada"}
    assert [(error["row"], error["line"], error["field"]) for error in made["errors"]] == [
        (2, 4, "row"),
        (3, 6, "row"),
        (4, 7, "row"),
        (5, 9, "row"),
    ]


def test_a_column_that_nothing_would_use_is_refused_by_name(call: Caller) -> None:
    text = "recipient,body,acount,priority\nada,Hello,loft1,high\n"
    refused = post_csv(call, text, channel="simulator")
    assert refused.status_code == 422
    said = refused.json()
    assert said["detail"].endswith("the columns acount, priority.")
    assert "account, body" in said["hint"]
    assert not Batch.objects.exists()


def test_the_account_of_a_row_is_a_field_with_and_without_a_template(
    call: Caller, greeting: TemplateVersion
) -> None:
    with_it = "recipient,name,account\nada,Ada,simulator\nbob,Bob,none\n"
    made = post_csv(call, with_it, channel="simulator", template="greeting").json()
    assert [(error["line"], error["field"]) for error in made["errors"]] == [(3, "account")]
    assert Notification.objects.get().context == {"name": "Ada"}
    post_csv(call, "recipient,body,account\nada,Hi,simulator\n", channel="simulator")
    assert set(Notification.objects.values_list("account", flat=True)) == {"simulator"}


def test_a_csv_without_a_template_has_texts_of_its_own(call: Caller) -> None:
    text = (
        "recipient,subject,body,eta,reference,locale\nada,Hi,Hello,2030-01-01T09:00:00Z,r1,de-AT\n"
    )
    made = post_csv(call, text, channel="simulator").json()
    assert (made["accepted"], made["refused"]) == (1, 0)
    row = Notification.objects.get()
    assert (row.subject, row.body, row.reference, row.locale) == ("Hi", "Hello", "r1", "de-AT")
    assert row.scheduled_at.isoformat() == "2030-01-01T09:00:00+00:00"


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("windows-1252", "cp1252", "Zoë €"),
        ("Shift_JIS", "shift_jis", "花子"),
        ('"iso-8859-2"', "iso8859_2", "Łukasz"),
        ("utf-16", "utf-16", "Zoë"),
        ("utf-16le", "utf-16-le", "\ufeffZoë"),
        ("UTF-8", "utf-8-sig", "Zoë"),
    ],
)
def test_a_csv_is_decoded_by_the_charset_that_it_declares(
    call: Caller, db: None, charset: str, codec: str, name: str
) -> None:
    mark = "\ufeff" if name.startswith("\ufeff") else ""
    text = f"{mark}recipient,body\nada,Dear {name.removeprefix(mark)}\n"
    type_ = f"text/csv; charset={charset}"
    # The query stays UTF-8, whatever the body is in.
    response = post_csv(call, text.encode(codec), type_, channel="simulator", name="grüße")
    assert response.status_code == 202, response.content
    assert response.json()["errors"] == []
    assert Batch.objects.get().name == "grüße"
    assert Notification.objects.get().body == f"Dear {name.removeprefix(mark)}"


NO_CHARSETS = ["klingon", "idna", "unicode_escape", "utf-7", "rot13", "zip", "punycode", "hex"]


@pytest.mark.parametrize("charset", NO_CHARSETS)
def test_a_charset_that_is_none_is_refused_before_anything_is_sent(
    call: Caller, db: None, charset: str
) -> None:
    type_ = f"text/csv; charset={charset}"
    response = post_csv(call, "recipient,body\nada,Hi\n", type_, channel="simulator")
    assert response.status_code == 415
    assert response["Content-Type"] == "application/problem+json"
    assert not Batch.objects.exists()
    assert not Notification.objects.exists()


def test_what_is_not_in_the_declared_charset_is_refused(call: Caller, db: None) -> None:
    rows = b"recipient,body\nada,Hi\nbob,\xff\n"
    made = post_csv(call, rows, "text/csv; charset=us-ascii", channel="simulator").json()
    assert (made["accepted"], made["refused"]) == (1, 1)
    assert "(ascii)" in str(made["errors"])


def test_a_batch_is_bounded(call: Caller, settings: Settings) -> None:
    settings.NOTIFICATIONS_API_BATCH_ROWS = 2
    refused = call("POST", "/notifications/batch", [SIMULATED] * 3)
    assert (refused.status_code, refused.json()["hint"]) == (413, "Send it in several parts.")
    assert post_csv(call, "recipient\na\nb\nc\n").status_code == 413
    settings.NOTIFICATIONS_API_BATCH_BYTES = 10
    assert call("POST", "/notifications/batch", [SIMULATED]).status_code == 413
