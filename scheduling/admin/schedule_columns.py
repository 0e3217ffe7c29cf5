"""What the admin shows of a schedule: its state, its rule in words, its fires past and next."""

from datetime import datetime

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django_celery_beat.models import PeriodicTask

from scheduling import isolation, rules
from scheduling.admin import timeline
from scheduling.admin.readable import ReadableAdmin, fault_of, readable
from scheduling.admin.when import shown as written
from scheduling.admin.when import words_of, zone_of
from scheduling.clock import database_now
from scheduling.message_rows import read_json
from scheduling.messages import MalformedMessage
from scheduling.models import Fire, Schedule
from scheduling.preview import upcoming_fires

NEXT_FIRES = 5
FIRES_SHOWN = 10
FIRES_DRAWN = 60
NOTHING = "-"


class ScheduleColumns(ReadableAdmin):
    """The columns of the list of schedules, and what the page of one shows beside its form."""

    @admin.display(description="does", ordering="task")
    def does(self, task: PeriodicTask) -> str:
        return str(task.task)

    @admin.display(description="rule")
    def rule(self, task: PeriodicTask) -> str:
        return words_of_rule(task) or NOTHING

    @admin.display(description="next fire", ordering="firing__next_fire_at")
    def next_fire(self, task: PeriodicTask) -> datetime | None:
        schedule = _schedule(task)
        return schedule.next_fire_at if schedule else None

    @admin.display(description="state")
    def state(self, task: PeriodicTask) -> str:
        schedule = _schedule(task)
        if schedule and schedule.quarantined_at:
            return f"in quarantine: {schedule.quarantine_reason} {fault_of(task)}".rstrip()
        if getattr(task, "is_overdue", False):
            return "overdue: it is due, and no scheduler moves it on"
        return fault_in(task) or ("active" if task.enabled else "paused")

    @admin.display(description=f"next {NEXT_FIRES} fires")
    def outlook(self, task: PeriodicTask) -> SafeString:
        """In the zone of the crontab, if it has one; the script renews it as one types."""
        words, fires = "", []
        if task.pk:
            words = words_of_rule(task)
            with isolation.aside("showing a schedule's next fires"):
                zone = zone_of(rules.row_in(task))
                fires = [written(moment, zone) for moment in upcoming_fires(task, NEXT_FIRES)]
        return render_to_string(
            "scheduling/admin/outlook.html", {"words": words, "fires": fires, "task": task}
        )

    @admin.display(description="timeline")
    def timeline(self, task: PeriodicTask) -> SafeString:
        """Show its last fires, and the next ones, as a picture."""
        fires = readable(Fire.objects.filter(schedule=task.pk))[:FIRES_DRAWN]
        planned: list[datetime] = []
        with isolation.aside("drawing a schedule's next fires"):
            planned += upcoming_fires(task, NEXT_FIRES)
        drawn = timeline.draw(fires, planned, database_now())
        return render_to_string("scheduling/admin/timeline.html", {"timeline": drawn})

    @admin.display(description="fires so far")
    def fires_so_far(self, task: PeriodicTask) -> SafeString:
        zone = zone_of(rules.row_in(task))
        fires = [
            (fire, written(fire.scheduled_for, zone))
            for fire in readable(Fire.objects.filter(schedule=task.pk))[:FIRES_SHOWN]
        ]
        return render_to_string("scheduling/admin/fires.html", {"fires": fires, "task": task})


def fault_in(task: PeriodicTask) -> str:
    """Say what cannot be read of a schedule, whether or not a scheduler has found it."""
    if fault := fault_of(task):
        return fault
    try:
        read_json(task)
    except MalformedMessage as error:
        return str(error)
    return ""


def words_of_rule(task: PeriodicTask) -> str:
    """Say a schedule's rule in English; empty if there is none to be read."""
    said: list[str] = []
    with isolation.aside("saying a schedule's rule"):
        said.append(words_of(task))
    return "".join(said)


def _schedule(task: PeriodicTask) -> Schedule | None:
    return getattr(task, "firing", None)
