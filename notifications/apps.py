from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have every scheduler process do what must go on by itself."""
        from notifications import (
            allocation,
            batches,
            bulk_replays,
            receipts,
            recovery,
            retention,
            status_callbacks,
            template_tests,
        )
        from notifications.metrics import processes  # noqa: F401 (its signal handlers)
        from scheduling import ticker
        from templates_engine.preview import test_senders

        test_senders["*"] = template_tests.send_preview

        ticker.register("notifications.sweep", recovery.sweep)
        ticker.register("notifications.allocation", allocation.tick)
        ticker.register("notifications.batches", batches.tick)
        ticker.register("notifications.bulk_replays", bulk_replays.tick)
        ticker.register("notifications.receipts", receipts.tick)
        ticker.register("notifications.status_callbacks", status_callbacks.tick)
        ticker.register("notifications.retention", retention.tick)
