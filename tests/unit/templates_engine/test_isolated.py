import pytest

from templates_engine import isolated
from templates_engine.building import Draft, build
from templates_engine.errors import InvalidTemplate, MissingVariables, RenderError
from templates_engine.isolated import (
    build_isolated,
    check_partial_isolated,
    child_environment,
    render_isolated,
)


def draft(source: str) -> Draft:
    return Draft("t", "chat", "transactional", {"default": {"text": source}})


def test_a_child_builds_the_same() -> None:
    assert build_isolated(draft("Hi {{ name }}")) == build(draft("Hi {{ name }}"))


def test_a_child_renders_what_the_draft_would_send() -> None:
    assert render_isolated(draft("Hi {{ name }}"), {"name": "Zoë"}, None) == {"text": "Hi Zoë"}


@pytest.mark.slow
def test_errors_come_back_as_they_were_raised() -> None:
    with pytest.raises(InvalidTemplate) as refused:
        build_isolated(draft("a\n{{ x y }}"))
    assert (refused.value.part, refused.value.line, refused.value.column) == ("text", 2, 6)
    with pytest.raises(MissingVariables) as missing:
        render_isolated(draft("{{ a }}{{ b }}"), {"a": 1}, None)
    assert missing.value.names == ["b"]
    with pytest.raises(RenderError) as failed:
        render_isolated(draft("{{ a }}"), {"a": None}, None)
    assert failed.value.reason == "value"
    with pytest.raises(InvalidTemplate, match="circle of references"):
        check_partial_isolated("p", "{% include 'p' %}", {})


def test_a_child_that_takes_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "WALL_SECONDS", 0.001)
    with pytest.raises(InvalidTemplate, match="too much"):
        build_isolated(draft("x"))


def test_a_child_has_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    assert child_environment().keys() == {"PYTHONPATH", "PYTHONIOENCODING"}
