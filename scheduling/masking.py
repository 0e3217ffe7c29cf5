"""A mask for free text that may name a person: an error's words, or a provider's."""

import re

_ADDRESS = re.compile(r"\S+@\S*|@\w\S*|\+\d[\d ().-]{5,}\d|\d{6,}|\S{30,}")


def without_addresses(text: str) -> str:
    """Leave out of a text what may be somebody's: addresses, numbers, tokens."""
    return _ADDRESS.sub("…", text)
