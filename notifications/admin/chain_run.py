"""Runs of chains: how far each has come, and why the other steps were not sent."""

import contextlib
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notifications.admin import search
from notifications.admin.base import ReadOnlyAdmin, labelled
from notifications.admin.filters import TimeFilter
from notifications.admin.project import ProjectFilter
from notifications.chains import story
from notifications.core import reasons
from notifications.models import ChainRun, Notification, Suppression

LABELS = {"running": "info", "reached": "success", "unreached": "danger"}
WORDS = {
    reasons.Reason.CHAIN_REACHED: "another step has reached",
    reasons.Reason.CHAIN_WAITS: "waits for its turn",
    reasons.Reason.ACCOUNT_HELD: "its account is held (account_held)",
    story.NO_ADDRESS: "the recipient has no address of this channel",
    **reasons.CHOSEN,
    **{value: str(label) for value, label in Suppression.Reason.choices},
}
"""Why a step was not sent, or not yet; another reason is its own word."""


class ToldRuns(QuerySet[ChainRun]):
    """Runs that carry what their steps have come to."""

    def _fetch_all(self) -> None:
        fresh = self._result_cache is None
        super()._fetch_all()
        runs = [row for row in self._result_cache or () if isinstance(row, ChainRun)]
        if fresh and runs:
            stories = story.of_several(runs)
            for row in runs:
                row.story = stories[row.pk]  # type: ignore[attr-defined]  # for these pages alone


class StateFilter(admin.SimpleListFilter):
    """By what the steps have come to."""

    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in story.STATES]

    def queryset(self, _: HttpRequest, rows: "QuerySet[ChainRun]") -> "QuerySet[ChainRun]":
        state = self.value()
        return story.in_state(rows, state) if state in story.STATES else rows


@admin.register(ChainRun)
class ChainRunAdmin(ReadOnlyAdmin):
    """Each use of a chain, the newest first."""

    list_display = ("shown_chain", "state", "reached_step", "sent_by", "to", "project", "began")
    list_filter = (StateFilter, TimeFilter, "stop_on", ProjectFilter)
    listed_lookups = ("chain",)  # the link of a chain's page
    sortable_by = ()
    ordering = ("-created_at", "-id")
    search_fields = ("id",)
    search_help_text = (
        "The id of a run, or what finds one of its notifications: an id, recipient, reference."
    )
    fields = ("shown_chain", ("state", "stop_on"), "to", ("project", "test"), "its_steps", "began")
    readonly_fields = ("shown_chain", "state", "to", "its_steps", "began")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ChainRun]":
        """Read the steps of all runs of a list in one query."""
        rows: QuerySet[ChainRun] = super().get_queryset(request)
        rows.__class__ = ToldRuns
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[ChainRun]", search_term: str
    ) -> tuple["QuerySet[ChainRun]", bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        ids = search.find(Notification.objects.all(), term)
        wanted = Q(pk__in=_runs_of(Q(pk__in=ids) | Q(recipient_key=term)))
        with contextlib.suppress(ValueError):
            wanted |= Q(pk=UUID(term))
        return queryset.filter(wanted), False

    @admin.display(description="Chain")
    def shown_chain(self, run: ChainRun) -> str:
        return run.chain or "without a name"

    @labelled("State", LABELS)
    def state(self, run: ChainRun) -> str:
        return _told(run).state

    @admin.display(description="Reached by step", empty_value="-")
    def reached_step(self, run: ChainRun) -> str | None:
        """Return which step has reached, and by which way."""
        reached = [step for step in _told(run).steps if step.reached]
        return f"{reached[0].part.step} ({reached[0].channel})" if reached else None

    @admin.display(description="Sent")
    def sent_by(self, run: ChainRun) -> str:
        """Return how many of the steps have been sent."""
        sent = {step.part.step for step in _told(run).steps if step.part.sent_at}
        return f"{len(sent)} of {len(run.waits)}"

    @admin.display(description="To", empty_value="-")
    def to(self, run: ChainRun) -> str | None:
        return run.recipient_key or None

    @admin.display(description="Began")
    def began(self, run: ChainRun) -> SafeString:
        return format_html(
            '<span class="ntf-nowrap">{}</span>', f"{run.created_at:%Y-%m-%d %H:%M:%S %Z}"
        )

    @admin.display(description="Steps")
    def its_steps(self, run: ChainRun) -> SafeString | str:
        """Return a line for each notification of the run, and for each step without an address."""
        left_out = f"left out: {WORDS[story.NO_ADDRESS]}"
        lines = [_line(step) for step in _told(run).steps]
        lines += [(step["step"], step["channel"], left_out, "", "") for step in run.skipped]
        shown = [(number, *rest) for number, *rest in sorted(lines, key=lambda line: line[0])]
        row = '<span class="block">{}. {}: {}{} {}</span>'
        return format_html_join("", row, shown) if shown else "-"


def _line(step: story.StepState) -> tuple[int, str, str, str, str]:
    part = step.part
    why = WORDS.get(part.reason, part.reason)
    said = "read" if part.read_at else part.status
    where = reverse("admin:notifications_notification_change", args=[part.key])
    link = format_html('<a class="ntf-link" href="{}">{}</a>', where, str(part.key))
    return part.step, step.channel, said, f", {why}" if why else "", link


def _told(run: ChainRun) -> story.Story:
    """Return what a run's steps have come to, as its page read it."""
    told: story.Story = run.story  # type: ignore[attr-defined]  # of ``ToldRuns``
    return told


def _runs_of(condition: Q) -> "QuerySet[Any, UUID | None]":
    steps = Notification.objects.filter(condition, chain_run__isnull=False)
    return steps.order_by().values_list("chain_run", flat=True)
