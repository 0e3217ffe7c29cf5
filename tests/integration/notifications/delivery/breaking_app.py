"""The project's app, whose recording thread raises once, outside the boundary of a batch."""

from typing import Any

from celery import signals

from config import celery_app as app

__all__ = ["app"]


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def plant(**_: Any) -> None:
    from notifications.delivery import background  # noqa: PLC0415 -- the models are loaded only now

    goes_on = background._goes_on
    raised: list[object] = []

    def raise_once(sending: Any) -> bool:
        if not raised:
            raised.append(sending)
            raise SystemExit("Dear Ada")
        return goes_on(sending)

    background._goes_on = raise_once
