"""The settings that an operator may change: typed, read when used, and read-only.

``settings.py`` has each with its default; ``docs/settings.md`` lists them.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

from django.conf import settings

from notifications.core.environment import RENAMED

Seconds = float
Days = int
Months = int
Bytes = int

Value = TypeVar("Value")


class Setting(Generic[Value]):
    """The Django setting ``NOTIFICATIONS_<NAME>``, where ``<NAME>`` is the attribute's name."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Note the setting's name, and the one that it had before."""
        self._name = f"NOTIFICATIONS_{name.upper()}"
        self._old = {new: old for old, new in RENAMED.items()}.get(self._name)

    def __get__(self, instance: object, owner: type) -> Value:
        """Return the value now. Raises ``AttributeError`` if the project does not have it."""
        name = self._name
        if self._old is not None and hasattr(settings, self._old):  # set in a project's settings
            warnings.warn(f"{self._old} is called {name} now.", FutureWarning, stacklevel=2)
            name = self._old
        value: Value = getattr(settings, name)
        return value

    def __set__(self, instance: object, value: Any) -> NoReturn:
        """Refuse: settings are changed in the environment, or in Django's settings."""
        raise AttributeError(f"{self._name} is read-only here.")


class Conf:
    """The settings, by name without ``NOTIFICATIONS_``, in lower case."""

    queue_window = Setting[int]()  # messages
    released_messages = Setting[int]()
    batch = Setting[Mapping[str, int]]()  # rows, by priority
    weights = Setting[Mapping[str, float]]()  # by priority
    raise_after = Setting[Seconds]()
    fair_queues = Setting[bool]()
    jobs_share = Setting[float]()  # 0 to 1
    pickup_grace = Setting[Seconds]()
    lease = Setting[Seconds]()
    provider_timeout = Setting[Seconds]()
    batch_time_limit = Setting[Seconds]()
    endpoint_timeout = Setting[Seconds]()
    database_backoff = Setting[Seconds]()
    send_rate_limit = Setting[str]()
    keep_days = Setting[Days]()
    keep_failed_days = Setting[Days]()
    keep_minute_counts_days = Setting[Days]()
    archive_months = Setting[Months]()
    forget_content = Setting[bool]()
    api_rate = Setting[int]()  # requests per second
    api_json_depth = Setting[int]()
    api_batch_rows = Setting[int]()
    api_wrong_keys_per_minute = Setting[int]()
    api_batch_bytes = Setting[Bytes]()
    mail_recipients = Setting[int]()
    mail_bytes = Setting[Bytes]()
    mail_headers = Setting[list[str]]()
    mail_refused_types = Setting[list[str]]()
    attachment_storage = Setting[str]()
    tracing = Setting[bool]()


conf = Conf()
