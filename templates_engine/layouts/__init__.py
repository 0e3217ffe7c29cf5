"""The layouts that come with the package. A row of the same name in the database replaces one."""

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def built_in() -> dict[str, str]:
    """Return their sources by name."""
    return {path.stem: path.read_text() for path in Path(__file__).parent.glob("*.html")}
