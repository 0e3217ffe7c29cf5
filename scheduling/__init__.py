"""A scheduler for Celery tasks, which knows nothing of notifications (``docs/scheduling.md``)."""
