"""The fire ledger: to read, and to replay or discard what failed."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django_celery_beat.models import PeriodicTask
from unfold.paginator import InfinitePaginator

from scheduling import failures
from scheduling.admin.pages import labelled
from scheduling.admin.readable import ReadableAdmin, ReadableRows, readable
from scheduling.masking import without_addresses
from scheduling.models import Fire, FireStatus
from scheduling.run_errors import NotOpen

NOTHING = "-"

made_by: list[Callable[[Fire], Iterable[tuple[str, str]]]] = []
"""What gives, as text and address, what a fire has made; other packages put theirs here."""


LABELS: dict[str, str] = {
    FireStatus.SUCCEEDED: "success",
    FireStatus.HANDED_OVER: "success",
    FireStatus.FAILED: "danger",
    FireStatus.LOST: "danger",
    FireStatus.SKIPPED_MISFIRE: "warning",
    FireStatus.SKIPPED_OVERLAP: "warning",
    FireStatus.SKIPPED_EXPIRED: "warning",
    FireStatus.SKIPPED_CONDITION: "warning",
    FireStatus.SKIPPED_HOLIDAY: "warning",
    FireStatus.SKIPPED_UNIQUE: "warning",
    FireStatus.CANCELLED: "warning",
}


class OpenFailures(admin.SimpleListFilter):
    """The failed runs that nobody has replayed or discarded."""

    title = "failed, and open"
    parameter_name = "failed"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [("open", "Yes")]

    def queryset(self, _: HttpRequest, fires: "QuerySet[Fire]") -> "QuerySet[Fire]":
        return fires & failures.open_ones() if self.value() == "open" else fires


@admin.register(Fire)
class FireAdmin(ReadableAdmin):
    """A ledger grows by millions, so its pages are not counted."""

    paginator = InfinitePaginator
    list_display = ("scheduled_for", "task", "outcome", "late_by", "finished_at", "tries", "worker")
    list_filter = (OpenFailures, "status", "by_hand")
    search_fields = ("=schedule__periodic_task__name", "=id")
    search_help_text = "The exact name of a schedule, or the exact id."
    listed_lookups = ("schedule",)  # the link of a schedule's page
    show_full_result_count = False
    sortable_by = ()
    list_per_page = 50
    actions = ("replay_selected", "replay_causes", "discard_selected")
    readonly_fields = (
        *(
            "task_link",
            "late_by",
            "outcome_in_words",
            "said",
            "made",
            "attempts",
            "replay",
            "tries",
        ),
    )
    fieldsets = (
        (None, {"fields": ("task_link", "outcome_in_words", "said", "made")}),
        ("Due", {"fields": (("scheduled_for", "fire_at"), "missed_since")}),
        (
            "Run",
            {
                "fields": (
                    ("dispatched_at", "late_by"),
                    ("started_at", "finished_at"),
                    ("heartbeat_at", "worker"),
                    ("tries", "publishes"),
                )
            },
        ),
        (
            "Failed run",
            {"fields": ("attempts", "cause", ("resolved_at", "resolution"), "replay")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> ReadableRows:
        """Join of the schedule only its name: its row may not be readable."""
        fires = super().get_queryset(request)
        return readable(fires.annotate(task_name=F("schedule__periodic_task__name")))

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Fire]", search_term: str
    ) -> tuple["QuerySet[Fire]", bool]:
        """Find by indexes: Django's own search compares capitals, which none has."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            named = PeriodicTask.objects.filter(name=term).values_list("pk", flat=True)
            return queryset.filter(schedule__in=list(named)), False

    @admin.display(description="schedule")
    def task(self, fire: Fire) -> str:
        return str(getattr(fire, "task_name", NOTHING))

    @admin.display(description="schedule")
    def task_link(self, fire: Fire) -> SafeString:
        where = reverse("admin:django_celery_beat_periodictask_change", args=(fire.schedule_id,))
        return format_html('<a class="ntf-link" href="{}">{}</a>', where, self.task(fire))

    @labelled("outcome", LABELS)
    def outcome(self, fire: Fire) -> tuple[str, str]:
        return fire.status, self.outcome_in_words(fire)

    @admin.display(description="outcome")
    def outcome_in_words(self, fire: Fire) -> str:
        by_hand = ", by hand" if fire.by_hand else ""
        return f"{fire.get_status_display()}{by_hand}{f' ({fire.note})' if fire.note else ''}"

    @admin.display(description="tries", ordering="attempt")
    def tries(self, fire: Fire) -> int | str:
        return fire.attempt or NOTHING

    @admin.display(description="late by")
    def late_by(self, fire: Fire) -> str:
        return NOTHING if fire.lateness is None else f"{fire.lateness:.3f} s"

    @admin.display(description="error")
    def said(self, fire: Fire) -> str:
        return fire.said or NOTHING

    @admin.display(description="made")
    def made(self, fire: Fire) -> SafeString | str:
        links = [(where, text) for find in made_by for text, where in find(fire)]
        return _links(links) or NOTHING

    @admin.display(description="attempts that failed")
    def attempts(self, fire: Fire) -> SafeString | str:
        rows = (
            (
                *(attempt["attempt"], attempt["ended_at"], attempt["worker"] or NOTHING),
                without_addresses(attempt["error"]),
            )
            for attempt in fire.history or ()
        )
        return format_html_join("", "<p>{}. {} {}: {}</p>", rows) or NOTHING

    @admin.display(description="replayed as")
    def replay(self, fire: Fire) -> SafeString | str:
        if fire.replayed_as is None:
            return NOTHING
        where = reverse("admin:scheduling_fire_change", args=(fire.replayed_as,))
        return _links([(where, str(fire.replayed_as))])

    @admin.action(description="Run failed runs again", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, fires: "QuerySet[Fire]") -> None:
        again = 0
        for fire in fires:
            try:
                failures.replay(fire.pk)
            except NotOpen as error:
                self.message_user(request, f"{fire}: {error}", messages.WARNING)
            else:
                self.log_change(request, fire, "Replayed.")
                again += 1
        self.message_user(request, f"{again} run again.")

    @admin.action(description="Run all failed runs of their causes again", permissions=["replay"])
    def replay_causes(self, request: HttpRequest, fires: "QuerySet[Fire]") -> None:
        causes = set(fires.exclude(cause="").values_list("cause", flat=True))
        again = sum(len(failures.replay_cause(cause)) for cause in causes)
        self.message_user(request, f"{again} run again, of {len(causes)} causes.")

    @admin.action(description="Discard failed runs", permissions=["replay"])
    def discard_selected(self, request: HttpRequest, fires: "QuerySet[Fire]") -> None:
        user = request.user.get_username()
        self.message_user(request, f"Discarded {failures.discard(fires, why=f'by {user}')}.")

    def has_replay_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("scheduling.change_schedule"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _links(links: Iterable[tuple[str, str]]) -> SafeString:
    return format_html_join(SafeString("<br>"), '<a class="ntf-link" href="{}">{}</a>', links)
