"""The policy of a schedule, edited beside it."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.admin import StackedInline

from scheduling import conditions
from scheduling.models import Schedule


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Saves a person's part of the row; the schedulers' part may have moved on meanwhile."""

    class Meta:
        model = Schedule
        fields = Schedule.POLICY_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = ", ".join(conditions.names()) or "none"
        self.fields["condition"].help_text += f" Registered: {known}."

    def clean_condition(self) -> str:
        name: str = self.cleaned_data["condition"]
        if name and name not in conditions.names():
            raise forms.ValidationError(f"No condition {name!r} is registered.")
        return name

    def save(self, commit: bool = True) -> Schedule:  # noqa: FBT001, FBT002 - Django's signature
        policy: Schedule = super().save(commit=False)
        if commit:
            values = {name: getattr(policy, name) for name in Schedule.POLICY_FIELDS}
            policy, _ = Schedule.objects.update_or_create(
                periodic_task=policy.periodic_task, defaults=values
            )
        return policy


class PolicyInline(StackedInline):  # type: ignore[misc]  # unfold is untyped
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
                    "catch_up_on_resume",
                )
            },
        ),
    )

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Show an empty policy where no row exists yet."""
        return 0 if obj is not None and Schedule.objects.filter(pk=obj.pk).exists() else 1
