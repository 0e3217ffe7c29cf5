"""Filters for people: money, numbers, dates and times by locale and zone, plurals, phones, links.

Locale and zone are the rendering's own, unless the template names others.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import (
    UnknownCurrencyError,
    format_currency,
    format_decimal,
    format_percent,
    validate_currency,
)
from jinja2 import Undefined

from templates_engine.budget import current
from templates_engine.values import FREE_LENGTH, BadValue, printable

FALLBACK_LOCALE = "en"
_STYLES = {"short", "medium", "long", "full"}
_PHONE_STYLES = {
    "international": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    "national": phonenumbers.PhoneNumberFormat.NATIONAL,
    "e164": phonenumbers.PhoneNumberFormat.E164,
}


def money(amount: Any, currency: str, locale: str | None = None) -> str:
    """``1234.5|money('EUR')`` → ``€1,234.50``, in German ``1.234,50 €``."""
    code = printable(currency)
    try:
        validate_currency(code)
    except UnknownCurrencyError:
        raise BadValue("money needs a currency code, such as EUR.") from None
    return format_currency(_decimal(amount), code, locale=_locale(locale))


def number(value: Any, decimals: int | None = None, locale: str | None = None) -> str:
    """``1234.5|number`` → ``1,234.5``; with ``decimals``, exactly so many."""
    pattern = None
    if decimals is not None:
        pattern = "#,##0" + ("." + "0" * _few(decimals) if decimals else "")
    return format_decimal(_decimal(value), format=pattern, locale=_locale(locale))


def percent(value: Any, decimals: int = 0, locale: str | None = None) -> str:
    """``0.256|percent`` → ``26%``, in German ``26 %``."""
    pattern = _locale(locale).percent_formats[None].pattern
    if decimals:
        pattern = pattern.replace("0", "0." + "0" * _few(decimals), 1)
    return format_percent(_decimal(value), format=pattern, locale=_locale(locale))


def date_(value: Any, style: str = "medium", zone: str | None = None) -> str:
    """``'2026-03-29T22:30:00Z'|date('long')`` → ``March 29, 2026``, by the recipient's zone."""
    moment = _moment(value)
    if isinstance(moment, datetime):
        moment = _in_zone(moment, _zone(zone))
    return format_date(moment, _style(style), locale=_locale(None))


def time_(value: Any, style: str = "short", zone: str | None = None) -> str:
    """``'2026-03-29T22:30:00Z'|time`` → ``10:30 PM``, in German ``22:30``."""
    shown = _zone(zone)
    moment = _in_zone(_datetime(value), shown)
    return format_time(moment, _style(style), tzinfo=shown, locale=_locale(None))


def datetime_(value: Any, style: str = "medium", zone: str | None = None) -> str:
    """Both in one, as the locale joins them."""
    shown = _zone(zone)
    moment = _in_zone(_datetime(value), shown)
    return format_datetime(moment, _style(style), tzinfo=shown, locale=_locale(None))


def plural(count: Any, *forms: str, **by_category: str) -> str:
    """``n|plural('item', 'items')``, or by CLDR category: ``n|plural(one='…', few='…', …)``.

    ``%n`` in a form is the number: ``3|plural('%n item', '%n items')`` → ``3 items``.
    """
    quantity = _decimal(count)
    if forms:
        if len(forms) != 2:
            raise BadValue("plural takes the form for one and the form for others.")
        by_category = {"one": forms[0], "other": forms[1]}
    if "other" not in by_category:
        raise BadValue("plural needs the form 'other'.")
    category = _locale(None).plural_form(abs(quantity))
    form = printable(by_category.get(category, by_category["other"]))
    if len(form) > 1000:
        raise BadValue("A plural form is at most 1000 characters long.")
    return form.replace("%n", number(quantity))


def phone(value: Any, region: str | None = None, style: str = "international") -> str:
    """``'+4930123456'|phone`` → ``+49 30 123456``; ``region`` reads numbers without a ``+``."""
    if style not in _PHONE_STYLES:
        raise BadValue("phone writes international, national or e164.")
    text = printable(value)
    try:
        parsed = phonenumbers.parse(text[:64], region)
    except phonenumbers.NumberParseException:
        return text
    return phonenumbers.format_number(parsed, _PHONE_STYLES[style])


def absolute(path: Any) -> str:
    """``'/orders/7'|absolute`` → ``https://shop.example/orders/7``, by TEMPLATES_BASE_URL."""
    base = current().base_url
    if not base:
        raise BadValue("absolute needs the setting TEMPLATES_BASE_URL.")
    return urljoin(base, printable(path))


FILTERS: dict[str, Callable[..., Any]] = {
    "money": money,
    "number": number,
    "percent": percent,
    "date": date_,
    "time": time_,
    "datetime": datetime_,
    "plural": plural,
    "phone": phone,
    "absolute": absolute,
}


def why_unreadable(filter_name: str, value: Any) -> str:
    """Return why a filter cannot format a value, as far as that is sure; ``""`` if it can."""
    read = _READ.get(filter_name)
    if read is None:
        return ""
    if isinstance(value, str) and len(value) > FREE_LENGTH:
        return "It is too long for a number or a date."
    try:
        read(value)
    except BadValue as error:
        return str(error)
    return ""


@lru_cache(maxsize=256)
def parsed_locale(name: str) -> Locale:
    """Find the nearest locale that is known: the name's own, its language's, else English."""
    words = name.replace("_", "-").split("-")
    for count in range(len(words), 0, -1):
        try:
            return Locale.parse("-".join(words[:count]), sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale.parse(FALLBACK_LOCALE)


def is_locale(name: str) -> bool:
    """Return whether a locale of this name is known, like ``de`` or ``de-AT``."""
    try:
        Locale.parse(name.replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def parsed_zone(name: str) -> tzinfo:
    """Find an IANA zone.

    Raises: BadValue.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise BadValue("A zone is named as in Europe/Berlin.") from None


def _locale(name: str | None) -> Locale:
    return parsed_locale(name or current().locale)


def _zone(name: str | None) -> tzinfo:
    return parsed_zone(printable(name)) if name else current().zone


def _style(style: str) -> Any:
    if style not in _STYLES:
        raise BadValue("A date's style is short, medium, long or full.")
    return style


def _few(decimals: int) -> int:
    if not isinstance(decimals, int) or not 0 <= decimals <= 10:
        raise BadValue("decimals are 0 to 10.")
    return decimals


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Undefined):
        str(value)
    try:
        exact = Decimal(str(value)) if isinstance(value, int | float | str | Decimal) else None
    except (InvalidOperation, ValueError):
        exact = None
    # A number written out has as many digits as its exponent says.
    if exact is None or not exact.is_finite() or abs(exact.adjusted()) > 30:
        raise BadValue("It needs a number.")
    return exact


def _moment(value: Any) -> date | datetime:
    if isinstance(value, date):
        moment = value
    else:
        text = printable(value)
        try:
            moment = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
        except ValueError:
            raise BadValue("It needs a date, or date and time, in ISO 8601.") from None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


def _datetime(value: Any) -> datetime:
    moment = _moment(value)
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), tzinfo=UTC)


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        # The formatting passes through UTC, in which the moment must have a year, too.
        return moment.astimezone(UTC).astimezone(zone)
    except OverflowError:
        raise BadValue(
            "It needs a date that is of the year 1 to 9999 in UTC and its zone."
        ) from None


_READ: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("money", "number", "percent", "plural"), _decimal),
    **dict.fromkeys(("date", "time", "datetime"), _moment),
}
