"""Personalisation: from the names that GOV.UK Notify takes to those of our templates, and back."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# ``{{ name }}``, ``{{ name|filter }}``, as far as it is one name.
_VARIABLE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*(?:\|[^{}]*)?-?\}\}")
_OTHER = re.compile(r"[\W_]+")


def context_of(given: Mapping[str, Any], needed: Iterable[str]) -> dict[str, Any]:
    """Return personalisation as a context.

    Names are the same whatever their case, blanks, dashes and underscores: ``((First name))``
    fills ``first_name``. A name that the template does not need is written as an identifier.
    """
    known = {_plain(name): name for name in needed}
    return {known.get(_plain(name)) or _identifier(name): value for name, value in given.items()}


def shown(source: str) -> str:
    """Write a template's source with placeholders, ``((name))``, where it has plain variables."""
    return _VARIABLE.sub(r"((\1))", source)


def names(sources: Iterable[str]) -> list[str]:
    """Return the names of the placeholders that sources have, each once, in order."""
    found = (name for source in sources for name in _VARIABLE.findall(source))
    return list(dict.fromkeys(found))


def _plain(name: str) -> str:
    return _OTHER.sub("", name).lower()


def _identifier(name: str) -> str:
    return name if name.isidentifier() else _OTHER.sub("_", name).strip("_").lower()
