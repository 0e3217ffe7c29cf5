"""Characters that nobody sees: pasted along, they make an address another one."""

import unicodedata
from collections.abc import Container

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
# Blank or ignored when shown, though their category says letter or mark
# (Unicode, Default_Ignorable_Code_Point), and BRAILLE PATTERN BLANK.
_HIDDEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)


# Belong to the character before: how it looks, and the tags of a flag (UTS 51).
_BOUND = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0020, 0xE0080))))
# What joins letters (Persian, Hindi) and the parts of an emoji, and a plain blank.
_NEEDED = _BOUND | frozenset(" \u200c\u200d")


def is_hidden(char: str) -> bool:
    """Return whether a character is a blank, a control, a format mark, or unassigned."""
    return char in _HIDDEN or unicodedata.category(char) in _HIDDEN_CATEGORIES


def trimmed(text: str) -> str:
    """Return the text without hidden characters at its ends (NBSP, bidi marks, U+200B, …)."""
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    start, end = 0, len(text)
    while start < end and is_hidden(text[start]):
        start += 1
    while end > start and is_hidden(text[end - 1]) and text[end - 1] not in _BOUND:
        end -= 1
    return text[start:end]


def first_hidden(text: str, allowed: Container[str] = "") -> str:
    """Return the first hidden character, ``""`` if there is none."""
    if text.isascii() and text.isprintable() and " " not in text:
        return ""
    return next((char for char in text if char not in allowed and is_hidden(char)), "")


def first_misplaced(text: str) -> str:
    """Return the first hidden character that no word or emoji needs, ``""`` if there is none.

    Plain blanks are left to the caller.
    """
    return first_hidden(text, allowed=_NEEDED)


def named(char: str) -> str:
    """Name a character for people: ``U+200B ZERO WIDTH SPACE``."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip()
