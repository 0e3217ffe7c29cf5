"""The app of ``jobs_app``, with a broken entry of ``beat_schedule`` and a sound one."""

from celery.schedules import crontab

from tests.integration.scheduling.jobs_app import app

__all__ = ["app"]

NEW_YEAR = crontab(minute="0", hour="0", day_of_month="1", month_of_year="1")

app.conf.beat_schedule = {
    "broken entry": {"task": "jobs.note", "schedule": "no rule"},
    "kept entry": {"task": "jobs.note", "schedule": NEW_YEAR},
}
