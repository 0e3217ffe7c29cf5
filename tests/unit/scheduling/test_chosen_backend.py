"""Which backend a process uses, and what a bad setting is answered by."""

import pytest

from scheduling import chosen_backend, configuration


def test_a_name_that_is_none_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    settings.SCHEDULING_BACKEND = "etcd"  # type: ignore[attr-defined]
    with pytest.raises(configuration.BadSetting, match="database, memory, redis"):
        chosen_backend.name()


@pytest.mark.parametrize("days", ["-1", "soon", "1e9"])
def test_days_that_are_none_are_refused(settings: object, days: str) -> None:
    settings.SCHEDULING_FIRES_KEPT_DAYS = days  # type: ignore[attr-defined]
    with pytest.raises(configuration.BadSetting, match="SCHEDULING_FIRES_KEPT_DAYS"):
        configuration.fires_kept_days()


def test_without_django_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "uses_django", lambda: False)
    monkeypatch.setenv("SCHEDULING_FIRES_KEPT_DAYS", "2.5")
    monkeypatch.setenv("SCHEDULING_ALLOWED_TASKS", "shop.*, reports.build")
    assert configuration.fires_kept_days() == 2.5
    assert configuration.read_list("SCHEDULING_ALLOWED_TASKS") == ["shop.*", "reports.build"]
    assert chosen_backend.name() == "redis"
