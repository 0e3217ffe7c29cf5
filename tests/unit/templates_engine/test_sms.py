import pytest

from templates_engine.errors import TooManySegments
from templates_engine.sms import check_segments, measure


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "units", "offending"),
    [
        ("", "GSM-7", 0, 0, ""),
        ("a" * 160, "GSM-7", 1, 160, ""),
        ("a" * 161, "GSM-7", 2, 161, ""),
        ("a" * 306, "GSM-7", 2, 306, ""),
        ("a" * 307, "GSM-7", 3, 307, ""),
        ("€" * 80, "GSM-7", 1, 160, ""),
        ("€" * 81, "GSM-7", 2, 162, ""),
        ("{[~]}\\^|", "GSM-7", 1, 16, ""),
        ("äöüßÄÖÜéèàùñ@£¥", "GSM-7", 1, 15, ""),
        ("a" * 152 + "€" + "a" * 10, "GSM-7", 2, 164, ""),
        ("ç", "UCS-2", 1, 1, "ç"),
        ("\u2019" * 70, "UCS-2", 1, 70, "\u2019"),
        ("\u2019" * 71, "UCS-2", 2, 71, "\u2019"),
        ("Привет", "UCS-2", 1, 6, "Привет"),
        ("😀" * 35, "UCS-2", 1, 70, "😀"),
        ("😀" * 36, "UCS-2", 2, 72, "😀"),
        ("ok “quoted” ok", "UCS-2", 1, 14, "“”"),
    ],
)
def test_segments_are_counted_as_networks_bill_them(
    text: str, encoding: str, segments: int, units: int, offending: str
) -> None:
    size = measure(text)
    assert (size.encoding, size.segments, size.units) == (encoding, segments, units)
    assert "".join(size.offending) == offending
    assert "".join(size.parts) == text
    assert size.characters == len(text)


def test_no_surrogate_pair_or_escape_is_cut_in_two() -> None:
    assert set(measure("😀" * 67).parts) == {"😀" * 33, "😀"}
    parts = measure("a" * 152 + "€" * 2 + "a" * 10).parts
    assert parts[0] == "a" * 152


def test_a_text_over_the_limit_names_what_makes_it_long() -> None:
    check_segments("a" * 160, 1)
    with pytest.raises(TooManySegments) as refused:
        check_segments("a" * 100 + "\u2019", 1)
    assert (refused.value.segments, refused.value.limit) == (2, 1)
    assert "U+2019" in refused.value.hint
