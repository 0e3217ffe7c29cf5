"""Two people who change one row at once: who saves second does not undo what the first has saved.

A page carries a digest of each value that it was opened with. A form that is sent refuses what
somebody else has saved since, unless it says the same.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.crypto import salted_hmac
from django.utils.text import capfirst, get_text_list

OPENED = "_opened"
"""The hidden field: ``name:digest`` for each value, with spaces between."""

_SHOWN = 12  # hexadecimal digits of a digest


class KeepsOthersChanges:
    """A form, mixed with this one, that refuses to undo what was saved since it was opened.

    A form that saves no more of a field than what its user has changed lists it in ``merged``.
    """

    merged: tuple[str, ...] = ()

    fields: Mapping[str, Any]

    def clean(self) -> Any:
        """Name the fields that somebody else has changed."""
        form: Any = self
        opened = read(form.data)
        lost = [
            str(form[name].label)
            for name, value in _values(form)
            if _is_another(opened, _place(form, name), value)
            and form.fields[name].has_changed(form[name].initial, form[name].data)
        ]
        if lost:
            form.add_error(None, refusal(get_text_list(lost, "and")))
        return super().clean()  # type: ignore[misc]  # a form's


class KeepsOthersRows:
    """A formset, mixed with this one, that refuses likewise."""

    rows: str
    """What its rows are called, in the plural."""

    def clean(self) -> None:
        formset: Any = self
        opened = read(formset.data)
        if any(_undoes(formset, form, opened) for form in formset.initial_forms):
            raise ValidationError(refusal(capfirst(self.rows)))
        super().clean()  # type: ignore[misc]  # a formset's


def refusal(page: str) -> str:
    """Say what somebody has changed, and what to do."""
    return (
        f"Somebody has changed {page} since you opened this page. "
        "Open it again, then make your change."
    )


def written(form: Any, formsets: Iterable[Any]) -> str:
    """Return the hidden field of a page: as it was sent, else of the rows as they are now."""
    if form.is_bound:  # what it shows is as old as the page that sent it
        return " ".join(":".join(pair) for pair in read(form.data).items())
    pairs = [(_place(form, name), value) for name, value in _values(form)]
    for formset in formsets:
        for row in formset.initial_forms:
            pairs += [(_place(row, name, formset), value) for name, value in _values(row)]
    return " ".join(f"{place}:{_digest(place, value)}" for place, value in pairs)


def read(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests that a page carries by place; none of a program, which has no page."""
    parts = (part.rpartition(":") for part in data.get(OPENED, "").split())
    return {place: digest for place, _, digest in parts}


def _undoes(formset: Any, form: Any, opened: Mapping[str, str]) -> bool:
    return form.has_changed() and any(
        _is_another(opened, _place(form, name, formset), value) for name, value in _values(form)
    )


def _values(form: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields that a form saves, with the values that its row has; none of a new row."""
    if form.instance._state.adding:  # noqa: SLF001 -- Django has no public way to ask
        return
    merged = getattr(form, "merged", ())
    for name, field in form.fields.items():
        initial = form.initial.get(name, field.initial)
        is_computed = callable(initial)  # a default, which is nothing that the row has
        is_saved = name in form.base_fields and name not in merged and not field.disabled
        if is_saved and not is_computed:
            yield name, initial


def _place(form: Any, name: str, formset: Any = None) -> str:
    beside = f"{formset.prefix}." if formset is not None else ""
    return f"{beside}{form.instance.pk}.{name}".replace(" ", "_")


def _is_another(opened: Mapping[str, str], place: str, value: Any) -> bool:
    """Return whether a value is another than the page was opened with; of others nothing is known.

    Which key of ``SECRET_KEY_FALLBACKS`` the page was made with makes no difference.
    """
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return place in opened and opened[place] not in [_digest(place, value, key) for key in keys]


def _digest(place: str, value: Any, key: str | None = None) -> str:
    """Return a digest that tells nothing of the value, and is another one in another place."""
    text = json.dumps(_plain(value), sort_keys=True, default=str)
    made = salted_hmac(f"{__name__}.{place}", text, secret=key, algorithm="sha256")
    return made.hexdigest()[:_SHOWN]


def _plain(value: Any) -> Any:
    """Return a value as it is told from others: a moment in whichever zone, rows in any order."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, list) and any(isinstance(row, Model) for row in value):
        return sorted(str(row.pk) for row in value)
    return value
