"""Accounts at providers, which of them serves what, and how fast."""

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from notifications.channels.kinds import problems, secret_problem
from notifications.channels.secret_references import BadReference, check_reference, resolve
from notifications.core import routing
from notifications.core.rates import BadRate, Rate

NAME = RegexValidator(
    r"^[a-z0-9]+([._-][a-z0-9]+)*$", "Use lower-case letters, digits, and . _ - between them."
)
PREFIX = RegexValidator(r"^\+[1-9]\d{0,14}$", "Use the start of an E.164 number, like +43.")


def _check_rate(value: str) -> None:
    try:
        Rate.parse(value)
    except BadRate as error:
        raise ValidationError(str(error)) from None


class ProviderAccount(models.Model):
    """An account at a provider. A change is seen by every worker within two seconds."""

    name = models.CharField(max_length=50, unique=True, validators=[NAME])
    channel = models.CharField(max_length=20, choices=[(c, c) for c in routing.CHANNELS])
    kind = models.CharField(max_length=30, help_text="Which provider: smtp, twilio, fcm, …")
    settings = models.JSONField(default=dict, blank=True)
    secrets = models.JSONField(
        default=dict, blank=True, help_text='References only: {"token": "env:NAME"} or "file:PATH".'
    )
    weight = models.PositiveIntegerField(
        default=100,
        help_text="Its share among the channel's accounts. 0: used only if no other account can.",
    )
    rate_limit = models.CharField(
        max_length=20, blank=True, validators=[_check_rate], help_text="Like 100/s or 5000/h."
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["channel", "name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check what the kind needs. Raises ``ValidationError`` by field."""
        errors = problems(self.kind, self.channel, self.settings, self.secrets)
        for name, reference in (self.secrets or {}).items():
            try:
                check_reference(reference)
            except BadReference as error:
                errors.setdefault("secrets", []).append(f"{name}: {error}")
            else:
                if problem := self._secret_problem(name, reference):
                    errors.setdefault("secrets", []).append(f"{name}: {problem}")
        if errors:
            raise ValidationError(errors)

    def _secret_problem(self, name: str, reference: str) -> str:
        try:
            return secret_problem(self.kind, name, resolve(reference))
        except BadReference:  # the workers may have it, if not this process
            return ""


class AccountRule(models.Model):
    """What an account is for. Without rules it is for everything of its channel.

    Of the accounts whose rules match a notification, those with the most specific rule serve
    it, and nobody else: by template, then by the longest country prefix, then by priority.
    """

    account = models.ForeignKey(ProviderAccount, models.CASCADE, related_name="rules")
    priority = models.CharField(
        max_length=10, blank=True, choices=[(p, p) for p in routing.PRIORITIES]
    )
    template = models.CharField(max_length=100, blank=True, help_text="A template's name.")
    country_prefix = models.CharField(max_length=16, blank=True, validators=[PREFIX])

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "priority", "template", "country_prefix"],
                name="account_rule_unique",
            )
        ]

    def __str__(self) -> str:
        words = [self.priority, self.template, self.country_prefix]
        return f"{self.account}: {' '.join(filter(None, words)) or 'everything'}"


class RateLimit(models.Model):
    """A limit per recipient, or for one template; cluster-wide, beside the accounts' own."""

    class Scope(models.TextChoices):
        RECIPIENT = "recipient"
        TEMPLATE = "template"

    scope = models.CharField(max_length=10, choices=Scope.choices)
    channel = models.CharField(max_length=20, choices=[(c, c) for c in routing.CHANNELS])
    template = models.CharField(
        max_length=100,
        blank=True,
        help_text="The template that it limits. Empty: all that a recipient gets by the channel.",
    )
    rate = models.CharField(max_length=20, validators=[_check_rate], help_text="Like 5/h.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["scope", "channel", "template"], name="rate_limit_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rate} per {self.scope} ({self.template or self.channel})"

    def clean(self) -> None:
        """Check that a limit for templates names one."""
        if self.scope == self.Scope.TEMPLATE and not self.template:
            raise ValidationError({"template": "Name the template."})
