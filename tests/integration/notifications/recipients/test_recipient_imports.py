"""Recipients that are imported: a CSV over HTTP, and a file by a command."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifications.models import Recipient, RecipientAddress
from notifications.submission import save_recipient
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db


CSV = """id;email;push;verified;timezone;plan
c-1;ada@example.org;t-1|t-2;yes;Europe/Vienna;gold
c-2;nobody;;;;
;eve@example.org;;;;

c-3;eve@example.org;;;Mars/One;
c-1;;;;;silver
c-4;eve@example.org;;maybe;;
c-5;eve@example.org;;TRUE;;
c-6;eve@example.org;;No;;
"""


def test_a_csv_is_imported_row_by_row(call: Caller) -> None:
    def send_csv(text: str) -> Any:
        return call._client.post(
            "/api/v1/recipients/import",
            text.encode(),
            content_type="text/csv",
            headers=call.headers,
        )

    answer = send_csv(CSV).json()
    assert (answer["created"], answer["changed"], answer["refused"], answer["blank"]) == (
        3,
        1,
        4,
        1,
    )
    assert [(error["row"], error["line"], error["field"]) for error in answer["errors"]] == [
        (2, 3, "addresses.email.0"),
        (3, 4, "id"),
        (4, 6, "timezone"),
        (6, 8, "verified"),
    ]
    mails = [
        call.ok("GET", f"/recipients/{id_}")["addresses"]["email"][0] for id_ in ("c-5", "c-6")
    ]
    assert [mail["verified"] for mail in mails] == [True, False]
    shown = call.ok("GET", "/recipients/c-1")
    assert shown["attributes"] == {"plan": "silver"}
    assert [address["verified"] for address in shown["addresses"]["push"]] == [True, True]
    assert send_csv("name\nAda\n").status_code == 422
    capitals = "Id, Email ,TimeZone,VERIFIED,Plan\nc-7,ada@example.org,Europe/Vienna,Yes,gold\n"
    assert send_csv(capitals).json()["created"] == 1
    shown = call.ok("GET", "/recipients/c-7")
    assert (shown["timezone"], shown["attributes"]) == ("Europe/Vienna", {"Plan": "gold"})
    assert shown["addresses"]["email"][0]["verified"]
    assert "two columns are named email" in send_csv("id,email,Email\nc-8,,\n").json()["detail"]
    assert call("POST", "/recipients/import", {}).status_code == 415


def test_a_file_is_imported_by_a_command_that_shows_how_far_it_is(
    tmp_path: Path, transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    save_recipient(
        "c-3", locale="de", addresses={"email": "old@example.org", "sms": "+436641234567"}
    )
    file = tmp_path / "people.csv"
    rows = [f"c-{n},c{n}@example.org,gold," for n in range(20)]
    rows += ["c-5,,silver,Mars", "c-7,,silver,UTC", "c-7,seven@example.org,,"]
    file.write_text("\n".join(["id,email,plan,timezone", *rows]))
    with pytest.raises(CommandError, match=r"1 rows were refused\."):
        call_command("import_recipients", str(file))
    said = capsys.readouterr()
    assert said.out.split("\n")[:4] == ["created: 19", "changed: 3", "refused: 1", "blank: 0"]
    assert "line 22, timezone: There is no time zone 'Mars'." in said.err
    kept = {row.key: row for row in Recipient.objects.all()}
    assert len(kept) == 20
    assert (kept["c-3"].locale, kept["c-3"].attributes) == ("de", {"plan": "gold"})
    assert (kept["c-7"].timezone, kept["c-7"].attributes) == ("UTC", {"plan": "silver"})
    addresses = {
        (row.recipient.key, row.channel): row.address for row in RecipientAddress.objects.all()
    }
    assert len(addresses) == 21
    assert addresses["c-3", "sms"] == "+436641234567"
    assert (addresses["c-3", "email"], addresses["c-7", "email"]) == (
        "c3@example.org",
        "seven@example.org",
    )
    with pytest.raises(CommandError, match="no project 'nope'"):
        call_command("import_recipients", str(file), project="nope")
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_recipients", str(tmp_path / "none.csv"))


def test_a_dot_in_a_column_leads_into_an_object_as_in_a_filter(call: Caller) -> None:
    def send_csv(text: str) -> Any:
        answer = call._client.post(
            "/api/v1/recipients/import",
            text.encode(),
            content_type="text/csv",
            headers=call.headers,
        )
        return answer.json()

    done = send_csv(
        "id,email,orders.count,orders.last.shop,e.g.\n"
        "c-1,ada@example.org,many,Graz,x\nc-2,bob@example.org,few,,\n"
    )
    assert done["created"] == 2
    attributes = call.ok("GET", "/recipients/c-1")["attributes"]
    assert attributes == {"orders": {"count": "many", "last": {"shop": "Graz"}}, "e.g.": "x"}
    wanted = {"field": "attributes.orders.count", "op": "eq", "value": "many"}
    found = call.ok("POST", "/audiences/preview", {"filter": wanted})
    assert [recipient["id"] for recipient in found["recipients"]] == ["c-1"]
    both = send_csv("id,orders,orders.count\nc-3,1,2\nc-4,1,\nc-5,,2\n")
    assert (both["created"], both["refused"]) == (2, 1)
    assert both["errors"][0]["field"] == "orders.count"
    assert "inside orders" in both["errors"][0]["detail"]


def test_a_row_is_told_all_that_is_wrong_with_it(call: Caller) -> None:
    rows = [
        "id,email,verified,timezone,locale,plan,plan.name,plan.price",
        "c-1,nobody,maybe,Mars,x!,gold,Gold,7",
        "c 2,ada@example.org,maybe,,,,,",
        "c-3,ada@example.org,no,,,gold,Gold,",
    ]
    answer = call._client.post(
        "/api/v1/recipients/import",
        "\n".join(rows).encode(),
        content_type="text/csv",
        headers=call.headers,
    ).json()
    assert (answer["created"], answer["refused"]) == (0, 3)
    told: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for error in answer["errors"]:
        told[error["row"]].append(error["field"])
    assert told == {
        1: ["verified", "plan.name", "plan.price", "addresses.email.0", "locale", "timezone"],
        2: ["verified", "id"],
        3: ["plan.name"],
    }


def test_columns_that_are_taken_as_attributes_are_named(
    call: Caller, tmp_path: Path, transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "id,Locale,locale_,adress.email,sms\nc-1,de,de,ada@example.org,\n"
    answer = call._client.post(
        "/api/v1/recipients/import",
        text.encode(),
        content_type="text/csv",
        headers=call.headers,
    ).json()
    assert answer["attributes"] == ["adress.email", "locale_"]
    assert (answer["created"], answer["errors"]) == (1, [])
    file = tmp_path / "people.csv"
    file.write_text(text)
    call_command("import_recipients", str(file))
    assert "attributes: adress.email, locale_\n" in capsys.readouterr().out
    file.write_text("id,locale\nc-1,de\n")
    call_command("import_recipients", str(file))
    assert "attributes" not in capsys.readouterr().out
