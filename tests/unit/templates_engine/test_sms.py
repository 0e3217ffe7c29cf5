import pytest

from templates_engine import sms
from templates_engine.errors import TooManySegments
from templates_engine.sms import check_segments, measure, sendable


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


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("\u201eHallo\u201c \u2013 Jos\u00e9\u2019s", '"Hallo" - Jos\u00e9\'s'),
        ("1\u00a0000\u202f\u20ac", "1 000 \u20ac"),
        (
            "\u201c\u041f\u0440\u0438\u0432\u0435\u0442\u201d\u00a0!",
            "\u201c\u041f\u0440\u0438\u0432\u0435\u0442\u201d !",
        ),
        ("plain", "plain"),
    ],
)
def test_typography_gives_way_where_that_keeps_a_text_in_gsm(given: str, sent: str) -> None:
    assert sendable(given) == sent
    assert sendable(given, keep_typography=True) == given.replace("\u00a0", " ").replace(
        "\u202f", " "
    )


@pytest.mark.parametrize("keep", [True, False])
def test_controls_which_no_phone_shows_do_not_make_a_text_dear(keep: bool) -> None:
    given = "a\tb\x0bc\x85d\x00\x1b\x7f\r\ne"
    assert sendable(given, keep_typography=keep) == "a b\nc\nd\r\ne"


@pytest.mark.parametrize("letter", ["a", "€", "|", "\\", "\f", "ä", "ж", "😀", "\x1b", "\ud800"])
@pytest.mark.parametrize("count", [0, 1, 35, 36, 70, 71, 80, 81, 160, 161, 320])
def test_segments_are_counted_as_a_text_is_measured(letter: str, count: int) -> None:
    for text in (letter * count, "a" + letter * count, letter * count + "]"):
        assert sms.segments(text) == sms.measure(text).segments
