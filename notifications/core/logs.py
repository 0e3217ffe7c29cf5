"""Logging: one line per event, as JSON or for people, the same in web, worker and scheduler."""

import logging
import logging.config
from http import HTTPStatus
from typing import Any

import structlog
from celery.signals import setup_logging

from notifications.core import tracebacks
from scheduling.outages import Requeued, is_outage

LOG_STYLES = ("text", "json")

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    tracebacks.format_exception,
]

_LOGGERS: dict[str, Any] = {
    # Each says something per task or request; what matters of it is in the rows.
    "celery.worker.strategy": {"level": "WARNING"},
    "httpx": {"level": "WARNING"},
    "django.request": {"filters": ["outages"]},
    "celery.app.trace": {"filters": ["outages", "texts"]},
    # Flower asks as it starts, and warns eight times that no worker has started yet. Its page of
    # workers and `manage.py doctor` show which workers there are.
    "flower.inspector": {"level": "ERROR"},
    # A line per quorum queue at each start, about broker ETAs, which nothing here uses.
    "kombu.transport.native_delayed_delivery": {"level": "ERROR"},
}


def tone_down_client_errors(record: logging.LogRecord) -> bool:
    """Log an answer below 500 as a WARNING at most, and without a traceback; a logging filter.

    Django logs the exception behind each 404, and what it calls suspicious as an ERROR: that is
    the client's fault, and nobody here has anything to mend.
    """
    if 400 <= getattr(record, "status_code", 0) < 500:
        record.exc_info = record.exc_text = None
        if record.levelno > logging.WARNING:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


class NotAnOutage(logging.Filter):
    """Leaves out what is said of each request or task that met an outage: its watch told of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        refused = getattr(record, "status_code", 0) == HTTPStatus.SERVICE_UNAVAILABLE
        known = error is not None and (isinstance(error, Requeued) or is_outage(error))
        return not (refused or known)


def logging_config(level: int, style: str) -> dict[str, Any]:
    """Return Django's LOGGING: ``style`` is ``json`` (for machines) or ``text`` (for people).

    ``level`` is one of ``logging``'s numbers.
    """
    _pass_to_the_standard_library()
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    renderer,
                ],
            },
        },
        "filters": {
            "client_errors": {"()": lambda: tone_down_client_errors},
            "outages": {"()": NotAnOutage},
            "texts": {"()": lambda: tracebacks.without_text},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["client_errors"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": _LOGGERS,
    }


def _pass_to_the_standard_library() -> None:
    """Have structlog's loggers pass their events to those of ``logging``, which write them."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery has no types
def configure(**_: Any) -> None:
    """Have Celery's processes log as Django does, instead of in Celery's own way."""
    from django.conf import settings  # noqa: PLC0415 -- settings import this module

    logging.config.dictConfig(settings.LOGGING)
