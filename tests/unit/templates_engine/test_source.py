import pytest

from templates_engine.errors import InvalidTemplate
from templates_engine.source import MAX_SOURCE, check_syntax, segments


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("hello\n  {{ name } }", 2, 11, "unexpected '}'"),
        ("a\n  {% foo %}", 2, 6, "unknown tag 'foo'"),
        ("\n\n {{ a b }}", 3, 7, "got 'b'"),
        ("line\r\n\r\n{{ a b }}", 3, 6, "got 'b'"),
        ("{{ a ? b }}", 1, 6, "unexpected char '?'"),
        ("ok {{ x|nope }}", 1, 9, "No filter named 'nope'"),
        ("{% if x %}\n{% else", 2, 8, "end of statement block"),
        ("{# c #} {{ a }} {%- for %}", 1, 25, "Expected"),
        ("\n{% for a in b recursive %}{% endfor %}", 2, 0, "recursive loops"),
    ],
)
def test_a_syntax_error_is_told_with_line_and_column(
    source: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(InvalidTemplate) as refused:
        check_syntax(source)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 3000,
        "{{ " + "a+" * 20000 + "1 }}",
        "{{ " + "9" * 5000 + " }}",
        "{% for i in x %}" * 30 + "{% endfor %}" * 30,
        "x" * (MAX_SOURCE + 1),
    ],
)
def test_a_source_too_deep_or_long_is_refused_as_any_other(source: str) -> None:
    with pytest.raises(InvalidTemplate):
        check_syntax(source)


def test_segments_join_to_what_they_came_from() -> None:
    source = "a {{ x|f('}') }} {% if y %}\n b{% endif %}{% raw %}{{ }}{% endraw %}"
    assert "".join(segment.source for segment in segments(source)) == source
