"""Settings are typed and read-only, and old names of settings still count."""

import warnings

import pytest
from django.conf import LazySettings

from notifications.core.conf import Conf, Setting, conf
from notifications.core.environment import RENAMED, take_old_names


def test_a_setting_is_read_when_it_is_used(settings: LazySettings) -> None:
    settings.NOTIFICATIONS_LEASE = 7.5
    assert conf.lease == 7.5


def test_every_setting_exists() -> None:
    names = [name for name, value in vars(Conf).items() if isinstance(value, Setting)]
    assert names
    for name in names:
        assert getattr(conf, name) is not None


def test_a_setting_is_read_only() -> None:
    with pytest.raises(AttributeError, match="NOTIFICATIONS_LEASE is read-only"):
        conf.lease = 1.0


def test_an_old_name_in_a_projects_settings_counts_with_a_warning(settings: LazySettings) -> None:
    settings.NOTIFICATIONS_GRACE = 9.0
    with pytest.warns(FutureWarning, match="NOTIFICATIONS_GRACE is called NOTIFICATIONS_PICKUP"):
        assert conf.pickup_grace == 9.0


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_in_the_environment_counts_with_a_warning(old: str) -> None:
    environ = {old: "4"}
    with pytest.warns(FutureWarning, match=f"{old} is called {RENAMED[old]} now"):
        take_old_names(environ)
    assert environ[RENAMED[old]] == "4"


def test_the_new_name_counts_where_both_are_set() -> None:
    environ = {"NOTIFICATIONS_HOLD": "4", "NOTIFICATIONS_BATCH_TIME_LIMIT": "6"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        take_old_names(environ)
    assert environ["NOTIFICATIONS_BATCH_TIME_LIMIT"] == "6"
