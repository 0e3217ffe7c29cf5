"""The charsets that a text body may declare: those of them that Python can decode as text."""

from encodings import normalize_encoding
from encodings.aliases import aliases

UTF_8 = "utf_8"

_UNICODE = (UTF_8, "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")
_ISO = ("ascii", "latin_1", *(f"iso8859_{n}" for n in (*range(2, 12), *range(13, 17))))
_WINDOWS = tuple(f"cp{n}" for n in (*range(1250, 1259), 874, 932, 949, 950))
_DOS = tuple(f"cp{n}" for n in (437, 737, 775, 850, 852, 855, 857, 858, *range(860, 867), 869))
_MAC = tuple(f"mac_{of}" for of in ("roman", "cyrillic", "greek", "iceland", "latin2", "turkish"))
_ASIAN = (
    *("shift_jis", "euc_jp", "iso2022_jp", "big5", "big5hkscs"),
    *("gb2312", "gbk", "gb18030", "euc_kr", "johab", "tis_620"),
)
_CODECS = frozenset(
    (*_UNICODE, *_ISO, *_WINDOWS, *_DOS, *_MAC, *_ASIAN, "koi8_r", "koi8_u", "koi8_t", "kz1048")
)


def codec_of(charset: str) -> str:
    """Return Python's codec for a charset's name or alias; empty if none decodes text by it.

    Python also has codecs that are no charset (``rot13``, ``idna``): none of them is returned.
    """
    name = normalize_encoding(charset).lower() if charset.isascii() else ""
    codec = name if name in _CODECS else aliases.get(name, "")
    return codec if codec in _CODECS else ""
