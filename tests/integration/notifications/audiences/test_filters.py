"""Filters of audiences: what they find, what serves them, and what is refused beside its field."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from notifications.admin.project import TAKEN
from notifications.audiences import (
    count_audience,
    delete_audience,
    filters,
    preview_audience,
    save_audience,
    saved,
    sql,
)
from notifications.core import errors
from notifications.core.world import LIVE, World
from notifications.db import clock, dialect
from notifications.models import Audience, Category, Recipient
from notifications.recipients import categories, preferences
from notifications.submission import save_recipients
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db

EVERYONE: dict[str, Any] = {"everyone": True}
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {
        "attributes": {
            "plan": "gold",
            "spent": 120,
            "tags": ["a", "b"],
            "vip": True,
            "n": 1,
            "größe": 5,
        },
        "addresses": {"email": {"address": "ada@example.org", "verified": True}, "sms": "+4366411"},
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "country": "AT",
    },
    "bob": {
        "attributes": {"plan": "free", "spent": 7.5, "since": "2026-03-01", "n": "1"},
        "addresses": {"email": "bob@example.org", "push": "token"},
        "locale": "en",
        "timezone": "Europe/London",
    },
    "eve": {
        "attributes": {
            "plan": "gold",
            "address": {"city": "Graz"},
            "vip": False,
            "n": True,
            "本": ["æ"],
        }
    },
}


def condition(field: str, op: Any, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def beside(field: str, op: str, value: Any) -> dict[str, Any]:
    """A condition that no index serves, among everyone."""
    return {"and": [EVERYONE, condition(field, op, value)]}


@pytest.fixture
def people(db: None) -> None:
    categories.forget()
    rows = [{"id": name, **fields} for name, fields in PEOPLE.items()]
    assert [saved_row.error for saved_row in save_recipients(rows)] == [None] * 3
    save_recipients([{"id": "ada", "attributes": {"plan": "gold"}}], test=True)
    Recipient.objects.filter(key="bob").update(
        choices={"marketing": {"email": True, "push": False}, "": {"sms": False}},
        created_at=clock.now() - timedelta(days=40),
    )
    Recipient.objects.filter(key="eve").update(
        choices={"marketing": {"": True}, "billing": {"": False}}
    )


FOUND = [
    (EVERYONE, "ada bob eve"),
    (condition("attributes.plan", "eq", "gold"), "ada eve"),
    (condition("attributes.plan", "in", ["free", "other"]), "bob"),
    (condition("attributes.address.city", "eq", "Graz"), "eve"),
    (condition("attributes.n", "in", [1, "1", "1", False]), "ada bob"),
    (condition("attributes.tags", "contains", "b"), "ada"),
    (condition("attributes.plan", "contains", "gold"), ""),
    (condition("attributes.vip", "eq", True), "ada"),
    # A value has its type: 1, "1" and true are three.
    (condition("attributes.n", "eq", 1), "ada"),
    (condition("attributes.n", "eq", "1"), "bob"),
    (condition("attributes.n", "eq", True), "eve"),
    (beside("attributes.tags", "exists", True), "ada"),
    (beside("attributes.tags", "exists", False), "bob eve"),
    (beside("attributes.spent", "gt", 7.5), "ada"),
    (beside("attributes.spent", "lte", 120), "ada bob"),
    (beside("attributes.plan", "gte", 0), ""),
    (beside("attributes.since", "lt", "2026-03-02"), "bob"),
    (beside("attributes.since", "gte", "2026-03-02"), ""),
    (condition("locale", "in", ["de-AT", "de"]), "ada"),
    (condition("timezone", "eq", "Europe/London"), "bob"),
    (condition("country", "eq", "AT"), "ada"),
    (condition("channel", "eq", "email"), "ada bob"),
    (condition("channel", "in", ["push", "sms"]), "ada bob"),
    (condition("verified_channel", "eq", "email"), "ada"),
    (condition("created_at", "lt", {"days_ago": 30}), "bob"),
    (condition("created_at", "gte", "2020-01-01T00:00:00+01:00"), "ada bob eve"),
    (beside("updated_at", "gt", {"days_ago": 1}), "ada bob eve"),
    ({"and": [EVERYONE, {"not": condition("attributes.plan", "eq", "gold")}]}, "bob"),
    # Names of any script, on SQLite too.
    (condition("attributes.größe", "eq", 5), "ada"),
    (beside("attributes.größe", "exists", False), "bob eve"),
    ({"and": [EVERYONE, {"not": condition("attributes.größe", "eq", 5)}]}, "bob eve"),
    (beside("attributes.本", "contains", "æ"), "eve"),
    # Who has no such attribute is not greater; so the opposite has them.
    ({"and": [EVERYONE, {"not": condition("attributes.spent", "gt", 50)}]}, "bob eve"),
    (
        {"or": [condition("country", "eq", "AT"), condition("attributes.vip", "eq", False)]},
        "ada eve",
    ),
    # ``Robert'); DROP``: a value is a value.
    (condition("attributes.plan", "eq", "'); DROP TABLE x; --"), ""),
    (condition("attributes.a'b", "eq", "%s"), ""),
]


@pytest.mark.parametrize(("given", "names"), FOUND, ids=str)
def test_a_filter_finds_whom_it_describes(people: None, given: Any, names: str) -> None:
    found = saved.preview(given, LIVE)
    assert sorted(recipient["id"] for recipient in found.recipients) == names.split()
    assert found.count == len(names.split())


def all_choices(category: str, channel: str) -> Iterator[dict[str, dict[str, bool]]]:
    """Everything that a person can have chosen which touches a category and a channel."""
    places = [(of, on) for of in (preferences.EVERYTHING, category) for on in ("", channel)]
    for chosen in product([None, True, False], repeat=len(places)):
        choices: dict[str, dict[str, bool]] = {}
        for (of, on), granted in zip(places, chosen, strict=True):
            if granted is not None:
                choices.setdefault(of, {})[on] = granted
        yield choices


@pytest.mark.parametrize("channel", ["email", "chat"])
@pytest.mark.parametrize("category", ["marketing", "billing", "security", "report"])
def test_a_condition_of_consent_is_the_rule_of_preferences(
    db: None, category: str, channel: str
) -> None:
    Category.objects.create(name="report", default=False, channel_defaults={"chat": True})
    categories.forget()
    kind = categories.require(category, LIVE)
    everybody = [
        Recipient(key=json.dumps(choices), choices=choices)
        for choices in all_choices(category, channel)
    ]
    Recipient.objects.bulk_create(everybody)
    expected = {r.key for r in everybody if not preferences.held_by(kind, channel, r.choices)}
    wanted = beside(f"consent.{category}", "eq", channel)
    missed = {"and": [EVERYONE, {"not": condition(f"consent.{category}", "eq", channel)}]}
    assert _found(wanted) == expected
    assert _found(missed) == {r.key for r in everybody} - expected
    categories.forget()


def _found(given: dict[str, Any]) -> set[str]:
    return {recipient["id"] for recipient in saved.preview(given, LIVE, limit=1_000).recipients}


def deep(depth: int) -> dict[str, Any]:
    return {"and": [deep(depth - 1)]} if depth else EVERYONE


def wide(*counts: int) -> dict[str, Any]:
    """Conditions of so many values each."""
    among = [[f"v{number}" for number in range(count)] for count in counts]
    return {"or": [condition(f"attributes.a{n}", "in", values) for n, values in enumerate(among)]}


BAD: list[tuple[Any, str, type[errors.InvalidNotification]]] = [
    ({}, "filter.field", errors.InvalidFilter),
    ({"field": "attributes.a", "op": "eq"}, "filter.value", errors.InvalidFilter),
    ({**condition("attributes.a", "eq", 1), "sql": "1"}, "filter", errors.InvalidFilter),
    (condition("password", "eq", "x"), "filter.field", errors.InvalidFilter),
    (condition("attributes.", "eq", "x"), "filter.field", errors.InvalidFilter),
    (condition('attributes.a"b', "eq", "x"), "filter.field", errors.InvalidFilter),
    (condition("attributes.a.b.c.d.e.f", "eq", 1), "filter.field", errors.InvalidFilter),
    (condition("attributes.a", "regex", ".*"), "filter.op", errors.InvalidFilter),
    (condition("attributes.a", [], 1), "filter.op", errors.InvalidFilter),
    (condition("locale", "gt", "de"), "filter.op", errors.InvalidFilter),
    (condition("attributes.a", "eq", None), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "eq", {"a": 1}), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "eq", "\0"), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "eq", "x" * 501), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "eq", 10**400), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "in", "x"), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "in", []), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "in", ["x"] * 101), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "in", ["x", None]), "filter.value.1", errors.InvalidFilter),
    (condition("attributes.a", "exists", 1), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "gt", True), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "gt", "tomorrow"), "filter.value", errors.InvalidFilter),
    (condition("attributes.a", "gt", "2026-02-30"), "filter.value", errors.InvalidFilter),
    (condition("attributes.a b", "gt", 1), "filter.field", errors.InvalidFilter),
    (condition("created_at", "gt", "2026-01-01"), "filter.value", errors.InvalidFilter),
    (condition("created_at", "gt", {"days_ago": -1}), "filter.value", errors.InvalidFilter),
    (condition("timezone", "eq", "Mars/Base"), "filter.value", errors.InvalidFilter),
    (condition("country", "in", ["AT", "ZZ"]), "filter.value.1", errors.InvalidFilter),
    (condition("channel", "eq", "fax"), "filter.value", errors.InvalidFilter),
    (condition("channel", "eq", []), "filter.value", errors.InvalidFilter),
    (condition("consent.nothing", "eq", "sms"), "filter.field", errors.UnknownCategory),
    (condition("consent.marketing", "eq", "fax"), "filter.value", errors.InvalidFilter),
    ({"everyone": False}, "filter.everyone", errors.InvalidFilter),
    ({"and": []}, "filter.and", errors.InvalidFilter),
    ({"and": [EVERYONE, {"or": [EVERYONE, 5]}]}, "filter.and.1.or.1", errors.InvalidFilter),
    ({"or": [EVERYONE] * 51}, "filter.or.50", errors.InvalidFilter),
    (wide(*[100] * 5, 1), "filter.or.5.value", errors.InvalidFilter),
    (deep(6), "filter.and.0.and.0.and.0.and.0.and.0", errors.InvalidFilter),
    # No index narrows these down.
    (condition("attributes.a", "exists", True), "filter", errors.UnindexedFilter),
    (condition("attributes.a", "gt", 1), "filter", errors.UnindexedFilter),
    (condition("updated_at", "gt", {"days_ago": 1}), "filter", errors.UnindexedFilter),
    ({"not": condition("attributes.a", "eq", 1)}, "filter", errors.UnindexedFilter),
    (condition("consent.billing", "eq", "sms"), "filter", errors.UnindexedFilter),
    (
        {"or": [condition("attributes.a", "eq", 1), condition("attributes.b", "lt", 1)]},
        "filter.or.1",
        errors.UnindexedFilter,
    ),
]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (2**60, "A number is 1,000,000,000,000,000 at most"),
        (-1e22, "A number is 1,000,000,000,000,000 at most"),
        ("x" * 501, "A text has 500 characters at most"),
        (None, "It must be text, a number, true or false"),
    ],
)
def test_a_value_that_cannot_be_compared_is_told_why(value: Any, why: str) -> None:
    for filter_ in (
        condition("attributes.a", "eq", value),
        condition("attributes.a", "in", [value]),
    ):
        with pytest.raises(errors.InvalidFilter, match=why):
            save_audience("all", filter_)


def test_a_country_in_small_letters_is_told_how_to_write_it() -> None:
    with pytest.raises(errors.InvalidFilter, match=r"'at' is not a country: .* capital letters"):
        save_audience("all", condition("country", "eq", "at"))


@pytest.mark.parametrize(("given", "field", "error"), BAD, ids=str)
def test_a_bad_filter_is_refused_by_its_place_from_python_and_over_http(
    call: Caller, given: Any, field: str, error: type[errors.InvalidNotification]
) -> None:
    with pytest.raises(error) as refused:
        save_audience("all", given)
    assert refused.value.field == field
    kind = {"InvalidFilter": "invalid-filter", "UnindexedFilter": "unindexed-filter"}.get(
        error.__name__, "unknown-category"
    )
    for path, body in (
        ("/audiences", {"name": "all", "filter": given}),
        ("/audiences/preview", {"filter": given}),
    ):
        answer = call("POST", path, body)
        said = answer.json()
        assert (answer.status_code, said["field"]) == (422, field), said
        assert said["type"].endswith(f"/{kind}")
    assert not Audience.objects.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (condition("attributes.a", "regex", "x"), "filter.op: "),
        ({"not": EVERYONE}, "No index serves this filter."),
        (5, "It must be a JSON object."),
        ([], "This field is required."),
    ],
)
def test_the_admin_says_beside_the_field_what_is_wrong(
    client: Client, given: Any, said: str
) -> None:
    client.force_login(User.objects.create_superuser("root", "root@example.org", "secret"))
    form = {"project": "default", "name": "all", "description": "", "filter": json.dumps(given)}
    page = client.post("/admin/notifications/audience/add/", form)
    assert page.status_code == 200
    [problem] = page.context["adminform"].form.errors["filter"]
    assert said in problem
    assert not Audience.objects.exists()


def test_the_admin_refuses_an_audience_of_a_name_that_exists(
    people: None, admin_client: Client
) -> None:
    form = {"project": "default", "name": "all", "filter": json.dumps(EVERYONE)}
    page = "/admin/notifications/audience/add/"
    assert admin_client.post(page, form).status_code == 302
    assert admin_client.post(page, form).context["adminform"].form.errors == {"name": [TAKEN]}


def test_an_audience_is_saved_counted_shown_changed_and_deleted(
    people: None, call: Caller, client: Client
) -> None:
    gold = {"name": "gold", "filter": condition("attributes.plan", "eq", "gold")}
    made = call("POST", "/audiences", {**gold, "description": "Who pays most"})
    assert made.status_code == 201
    assert call.ok("GET", "/audiences/gold") == made.json()
    assert call.ok("GET", "/audiences/gold/preview", query={"limit": 1})["count"] == 2
    tried = call.ok("POST", "/audiences/preview", {"filter": gold["filter"]})
    assert sorted(recipient["id"] for recipient in tried["recipients"]) == ["ada", "eve"]
    assert count_audience("gold") == preview_audience("gold").count == 2
    for url in ("", f"{Audience.objects.get().pk}/change/"):
        client.force_login(
            User.objects.get_or_create(username="r", is_superuser=True, is_staff=True)[0]
        )
        page = client.get(f"/admin/notifications/audience/{url}").content.decode()
        assert "gold" in page
    assert "ada" in page
    assert call("POST", "/audiences", {**gold, "filter": EVERYONE}).status_code == 200
    [shown] = call.ok("GET", "/audiences")["items"]
    assert shown["filter"] == EVERYONE
    assert count_audience("gold") == 3
    # A test has recipients and audiences of its own.
    save_audience("gold", EVERYONE, test=True)
    assert count_audience("gold", test=True) == 1
    for name in ("", "A b", "preview"):
        with pytest.raises(errors.InvalidField):
            save_audience(name, EVERYONE)
    delete_audience("gold")
    with pytest.raises(errors.UnknownAudience):
        count_audience("gold")
    assert call("DELETE", "/audiences/gold").status_code == 204
    assert call("GET", "/audiences/gold").status_code == 404


@pytest.mark.parametrize("given", [deep(5), wide(*[100] * 5)], ids=["deep", "wide"])
def test_a_filter_may_be_as_large_as_its_page_says(people: None, given: Any) -> None:
    assert saved.count(given, LIVE) == (3 if "and" in given else 0)


FEW = 100  # rows that a condition finds among the 200,000

SERVED = [
    (condition("attributes.plan", "eq", "gold"), {"recipient_attributes"}),
    (condition("attributes.plan", "in", ["gold", "silver"]), {"recipient_attributes"}),
    (condition("attributes.tags", "contains", "rare"), {"recipient_attributes"}),
    (condition("consent.marketing", "eq", "email"), {"recipient_choices"}),
    (condition("locale", "eq", "gsw"), {"recipient_locale"}),
    (condition("timezone", "eq", "Europe/Vaduz"), {"recipient_timezone"}),
    (condition("country", "eq", "LI"), {"recipient_country"}),
    (condition("created_at", "lt", "2001-01-01T00:00:00Z"), {"recipient_created"}),
    (condition("channel", "eq", "chat"), {"address_owner"}),
    (condition("attributes.spent", "gt", 1_000), {sql.index_of(["spent"], sql.NUMBER)}),
    (condition("attributes.since", "lt", "2001-01-01"), {sql.index_of(["since"], sql.DATE)}),
    (
        {"or": [condition("attributes.plan", "eq", "gold"), condition("country", "eq", "LI")]},
        {"recipient_attributes", "recipient_country"},
    ),
    (
        {
            "and": [
                condition("attributes.plan", "eq", "gold"),
                {"not": condition("attributes.spent", "gt", 5_000)},
            ]
        },
        {"recipient_attributes"},
    ),
]


@pytest.mark.slow
def test_each_served_condition_reads_its_index_among_200_000_recipients(
    transactional_db: None,
) -> None:
    for path, kind in (("spent", sql.NUMBER), ("since", sql.DATE)):
        call_command("index_attribute", path, kind=kind, verbosity=0)
    try:
        _fill(200_000)
        for given, indexes in SERVED:
            plan = _plan(given)
            assert "Seq Scan on notifications_recipient " not in plan, (given, plan)
            assert all(index in plan for index in indexes), (given, plan)
            assert 0 < saved.count(given, LIVE) <= 2 * FEW, given
    finally:
        for path, kind in (("spent", sql.NUMBER), ("since", sql.DATE)):
            call_command("index_attribute", path, kind=kind, drop=True, verbosity=0)
    with pytest.raises(errors.UnindexedFilter):
        saved.count(condition("attributes.spent", "gt", 1_000), LIVE)
    with pytest.raises(CommandError):
        call_command("index_attribute", "a'b")


RECIPIENTS = """
    INSERT INTO notifications_recipient (project, test, key, locale, timezone, country, attributes,
        choices, created_at, updated_at)
    SELECT 'default', false, 'c-' || n,
        CASE WHEN rare THEN 'gsw' ELSE 'de' END,
        CASE WHEN rare THEN 'Europe/Vaduz' ELSE 'Europe/Vienna' END,
        CASE WHEN rare THEN 'LI' ELSE 'AT' END,
        jsonb_build_object('plan', CASE WHEN rare THEN 'gold' ELSE 'free' END,
            'tags', jsonb_build_array(CASE WHEN rare THEN 'rare' ELSE 'usual' END),
            'spent', CASE WHEN rare THEN 2000 ELSE n %% 100 END,
            'since', CASE WHEN rare THEN '2000-01-01' ELSE '2026-01-01' END),
        CASE WHEN rare THEN '{"marketing": {"email": true}}'::jsonb ELSE '{}' END,
        CASE WHEN rare THEN '2000-01-01'::timestamptz ELSE now() END,
        now()
    FROM (SELECT n, n %% %s = 0 AS rare FROM generate_series(1, %s) AS n) AS numbered
"""
ADDRESSES = """
    INSERT INTO notifications_recipientaddress (recipient_id, channel, address, verified, place)
    SELECT id, CASE WHEN country = 'LI' THEN 'chat' ELSE 'email' END, key, false, 0
    FROM notifications_recipient
"""


def _fill(count: int) -> None:
    """Write recipients, of whom each of the conditions finds a few."""
    with connection.cursor() as cursor:
        cursor.execute(RECIPIENTS, [count // FEW, count])
        cursor.execute(ADDRESSES)
        cursor.execute("VACUUM ANALYZE notifications_recipient, notifications_recipientaddress")


def _plan(given: Any) -> str:
    where = saved.condition(given, LIVE)
    lines = dialect.all_of(
        f"EXPLAIN SELECT r.id FROM {sql.TABLE} r WHERE {where.text}", where.parameters
    )
    return "\n".join(line for (line,) in lines) + " "


def test_a_filter_of_a_project_sees_nobody_of_another(people: None) -> None:
    shop = World("shop")
    assert saved.count(EVERYONE, shop) == 0
    assert filters.read(EVERYONE, shop, clock.now()).text == "TRUE"


def test_a_value_is_a_parameter_and_never_text_of_a_statement(people: None) -> None:
    given = condition("attributes.plan", "in", ["gold'", 'fr"ee', "a\\", "%(x)s", "{}"])
    assert "gold" not in saved.condition(given, LIVE).text
    assert saved.count(given, LIVE) == 0
