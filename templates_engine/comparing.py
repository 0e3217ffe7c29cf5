"""What changed from one version of a template to another, line by line."""

from collections.abc import Iterator
from difflib import unified_diff

from templates_engine.parts import Variants


def changes(before: Variants, after: Variants) -> Iterator[tuple[str, str, list[str]]]:
    """Return locale, part and changed lines, as ``diff -u`` writes them, of each part that differs.

    A part that only one of them has differs from an empty one.
    """
    for locale in sorted({*before, *after}):
        old, new = before.get(locale, {}), after.get(locale, {})
        for part in sorted({*old, *new}):
            was, now = old.get(part, "").splitlines(), new.get(part, "").splitlines()
            lines = list(unified_diff(was, now, lineterm="", n=2))[2:]  # without the files' names
            if lines:
                yield locale, part, lines
