"""What a page weighs on a first look: its HTML and what it loads (styles, scripts, fonts)."""

import gzip
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

# What a browser fetches: for a page its scripts, styles and pictures, for a style its fonts.
_LOADS = re.compile(
    r"""<(?:script|img)\b[^>]*?\bsrc="([^"]+)"|"""
    r"""<link\b[^>]*?\bhref="([^"]+\.css)"|"""
    r"""\burl\(\s*["']?([^"')]+)"""
)


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes as they are, and as they are sent to a browser that takes gzip."""

    plain: int
    sent: int

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(self.plain + other.plain, self.sent + other.sent)


class Scales:
    """Weighs pages by a client of Django's; what pages share is fetched once."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.shared: dict[str, Weight] = {}

    def weigh(self, where: str) -> Weight:
        """Return what a page weighs with all that it loads."""
        text, total = self._fetch(where)
        for address in _named(text, where):
            if address not in self.shared:
                style, weight = self._fetch(address)
                fonts = _named(style, address) if address.endswith(".css") else set()
                self.shared[address] = sum((self._fetch(font)[1] for font in fonts), weight)
            total += self.shared[address]
        return total

    def _fetch(self, where: str) -> tuple[str, Weight]:
        answer = self.client.get(where, headers={"accept-encoding": "gzip"})
        if answer.status_code != 200:
            raise RuntimeError(f"{where} answered {answer.status_code}.")
        sent = answer.getvalue()
        is_packed = answer.headers.get("Content-Encoding") == "gzip"
        plain = gzip.decompress(sent) if is_packed else sent
        return plain.decode(errors="replace"), Weight(len(plain), len(sent))


def _named(text: str, where: str) -> set[str]:
    found = {next(filter(None, match.groups())) for match in _LOADS.finditer(text)}
    return {urljoin(where, address) for address in found if not address.startswith("data:")}
