from decimal import Context, Inexact, localcontext

import pytest

from templates_engine.errors import RenderError
from tests.unit.templates_engine.content import text, unchecked, version

WHEN = "2026-03-29T22:30:00Z"


def in_locale(source: str, locale: str, **context: object) -> str:
    variants = {locale: {"text": source}} if locale != "en" else {}
    made = version(text=source, variants=variants, base_url="https://shop.example/en/")
    printed = str(made.render(context, locale)["text"])
    return printed.replace("\xa0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("source", "locale", "printed"),
    [
        ("{{ 1234.5|money('EUR') }}", "en", "€1,234.50"),
        ("{{ '1234.5'|money('EUR') }}", "de", "1.234,50 €"),
        ("{{ 1234|money('JPY') }}", "en", "¥1,234"),
        ("{{ 0.1|money('USD', locale='fr') }}", "en", "0,10 $US"),
        ("{{ 1234567|number }}", "de-CH", "1\u2019234\u2019567"),
        ("{{ 2|number(2) }}", "de", "2,00"),
        ("{{ 0.256|percent }} {{ 0.256|percent(1) }}", "en", "26% 25.6%"),
        ("{{ w|date }}", "en", "Mar 29, 2026"),
        ("{{ w|date('long') }}", "de", "29. März 2026"),
        ("{{ w|date(zone='Asia/Tokyo') }}", "en", "Mar 30, 2026"),
        ("{{ '2026-03-29'|date('short') }}", "en", "3/29/26"),
        ("{{ w|time }}", "en", "10:30 PM"),
        ("{{ w|time(zone='Europe/Vienna') }}", "de", "00:30"),
        ("{{ '2026-03-29T22:30'|time }}", "de", "22:30"),
        ("{{ w|datetime('short') }}", "de", "29.03.26, 22:30"),
        ("{{ 1|plural('item', 'items') }}", "en", "item"),
        ("{{ 1200|plural('%n item', '%n items') }}", "en", "1,200 items"),
        (
            "{{ 5|plural(one='%n plik', few='%n pliki', many='%n plików', other='%n pliku') }}",
            "pl",
            "5 plików",
        ),
        (
            "{{ 3|plural(one='%n plik', few='%n pliki', many='%n plików', other='%n pliku') }}",
            "pl",
            "3 pliki",
        ),
        ("{{ '+4930901820'|phone }}", "en", "+49 30 901820"),
        ("{{ '030 901820'|phone('DE', 'e164') }}", "en", "+4930901820"),
        ("{{ 'call us'|phone }}", "en", "call us"),
        ("{{ '/orders/7'|absolute }}", "en", "https://shop.example/orders/7"),
        ("{{ 'https://x.example/'|absolute }}", "en", "https://x.example/"),
    ],
)
def test_people_read_values_as_they_are_used_to(source: str, locale: str, printed: str) -> None:
    assert in_locale(source, locale, w=WHEN) == printed


def test_dates_are_shown_in_the_recipients_zone() -> None:
    assert text("{{ w|date }}", w=WHEN, timezone="Asia/Tokyo") == "Mar 30, 2026"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x'|money('EUR') }}",
        "{{ 1|money('NOPE') }}",
        "{{ 'nan'|number }}",
        "{{ '1e999999'|number }}",
        "{{ none|money('EUR') }}",
        "{{ 1|number(99) }}",
        "{{ 'soon'|date }}",
        "{{ '2026-01-01'|date('huge') }}",
        "{{ '2026-01-01T00:00'|time(zone='Mars/Olympus') }}",
        "{{ 1|plural('item') }}",
        "{{ '/x'|absolute }}",
    ],
)
def test_what_a_filter_cannot_format_is_an_error_and_no_guess(source: str) -> None:
    with pytest.raises(RenderError) as failed:
        unchecked(source).render({})
    assert failed.value.reason == "value"


@pytest.mark.parametrize("name", ["date", "time", "datetime"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_moment_beyond_the_calendar_is_told_as_such(name: str, moment: str) -> None:
    with pytest.raises(RenderError, match="year 1 to 9999") as failed:
        unchecked(f"{{{{ '{moment}'|{name}(zone='Europe/Berlin') }}}}").render({})
    assert failed.value.reason == "value"


def test_numbers_are_printed_the_same_whatever_arithmetic_a_caller_has_left() -> None:
    source = "{{ 1234.5|money('EUR') }} {{ 1234567.891|number }} {{ 0.256|percent(1) }}"
    expected = in_locale(source, "en")
    for left in (Context(prec=2), Context(traps=[Inexact]), Context(Emax=2, Emin=-2)):
        with localcontext(left):
            assert in_locale(source, "en") == expected
