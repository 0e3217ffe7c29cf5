"""The policy of a schedule, edited beside it."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import StackedInline
from unfold.widgets import UnfoldAdminSelectWidget

from scheduling import conditions
from scheduling.models import Schedule, refuse_long_jitter
from scheduling.terms import Misfire, Overlap

TYPED_RULE = "_typed_rule"
"""Where a schedule's form leaves what was typed of a rule that no row can hold."""


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Saves a person's part of the row; the schedulers' part may have moved on meanwhile."""

    class Meta:
        model = Schedule
        fields = Schedule.POLICY_FIELDS
        labels = {
            "misfire": "Missed times",
            "misfire_cap": "At most",
            "grace_seconds": "Too late after (s)",
            "overlap": "While the last one runs",
            "jitter_seconds": "Spread over (s)",
            "timeout_seconds": "Time limit (s)",
            "max_retries": "Retries",
            "retry_backoff_seconds": "First retry after (s)",
            "concurrency": "Runs at once",
            "unique_seconds": "One run of it in (s)",
            "pause_after": "Pause after failures",
        }
        help_texts = {
            "misfire": "What happens to due times that passed while no scheduler ran.",
            "overlap": "What happens to a due time while the previous run still goes on.",
            "guarantee": "What a crash may cause: a run that happens twice, or one that does not "
            "happen.",
            "timeout_seconds": "A run that takes longer is ended. Empty: no limit.",
            "misfire_cap": f"With “{Misfire.ALL.label}”: how many of the newest.",
            "grace_seconds": "A due time that is missed by more than this is not made up for. "
            f"Empty: no limit (with “{Misfire.SKIP.label}”: 30 seconds).",
            "concurrency": f"With “{Overlap.SKIP.label}” or “{Overlap.QUEUE.label}”: how many runs "
            "may go on at once.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["condition"] = self._condition()

    def _condition(self) -> forms.ChoiceField:
        """Offer what is registered, and what is kept although its code is gone."""
        kept = [self.instance.condition] if self.instance.condition else []
        names = sorted({*conditions.names(), *kept})
        return forms.ChoiceField(
            label="Only if",
            required=False,
            choices=[("", "always"), *((name, name) for name in names)],
            widget=UnfoldAdminSelectWidget,
            help_text="A predicate that code registers, asked as it fires; its “no” is recorded "
            "as skipped.",
        )

    def clean(self) -> dict[str, Any]:
        """Check the jitter with the rule that is typed beside it, also of a new schedule."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        task = getattr(self.fields.get("periodic_task"), "parent_instance", None)
        own = getattr(task, TYPED_RULE, None) or self.instance.recurrence
        refuse_long_jitter(data.get("jitter_seconds") or 0, task, own)
        return data

    def save(self, commit: bool = True) -> Schedule:  # noqa: FBT001, FBT002 -- Django's signature
        policy: Schedule = super().save(commit=False)
        if commit:
            values = {name: getattr(policy, name) for name in Schedule.POLICY_FIELDS}
            key = policy.periodic_task_id
            Schedule.objects.bulk_create([Schedule(pk=key)], ignore_conflicts=True)
            Schedule.objects.filter(pk=key).update(**values)
        return policy


class PolicyInline(StackedInline):  # type: ignore[misc]  # unfold is untyped
    """The policy of a schedule, in the schedule's form."""

    model = Schedule
    form = PolicyForm
    can_delete = False
    max_num = 1
    verbose_name = verbose_name_plural = "Policy"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("misfire", "overlap"),
                    ("misfire_cap", "grace_seconds"),
                    ("jitter_seconds", "guarantee"),
                    ("max_retries", "retry_backoff_seconds"),
                    ("timeout_seconds", "condition"),
                    ("concurrency", "concurrency_key"),
                    ("unique_key", "unique_seconds"),
                    ("pause_after", "catch_up_on_resume"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Schedule]":
        """Read no more than is edited: what the schedulers own may not be readable."""
        rows: QuerySet[Schedule] = super().get_queryset(request)
        return rows.only(*Schedule.POLICY_FIELDS)

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Show an empty policy where no row exists yet."""
        return 0 if obj is not None and Schedule.objects.filter(pk=obj.pk).exists() else 1
