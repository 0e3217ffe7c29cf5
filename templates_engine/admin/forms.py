"""A draft's form: one box for each part of each locale, checked in a process of its own."""

import json
from typing import TYPE_CHECKING, Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from templates_engine.errors import InvalidTemplate
from templates_engine.isolated import build_isolated, check_partial_isolated
from templates_engine.models import Partial, TemplateVersion
from templates_engine.partials import partials_reached_from
from templates_engine.parts import DEFAULT_LOCALE, HTML_PARTS, Variants, locales_of, parts_of
from templates_engine.publishing import prepare

if TYPE_CHECKING:
    VersionForm = forms.ModelForm[TemplateVersion]
    PartialBase = forms.ModelForm[Partial]
else:
    VersionForm = PartialBase = forms.ModelForm

_ROWS = {"subject": 1, "title": 1, "markdown": 16, "html": 24, "data": 6, "blocks": 12}
_HELP = {
    "markdown": "Instead of HTML: it is turned into HTML in the layout email.",
    "text": "Leave it empty to have it made from the HTML.",
    "data": "A JSON object; write values as {{ value|tojson }}.",
    "blocks": 'Slack\'s blocks, a JSON list; write values between quotation marks: "*{{ name }}*".',
}


def field_name(locale: str, part: str) -> str:
    """Return the form field of a part."""
    return f"source-{locale}-{part}"


def source_box(part: str = "html") -> UnfoldAdminTextareaWidget:
    """Make a box to write a source in."""
    return UnfoldAdminTextareaWidget(
        attrs={
            "rows": _ROWS.get(part, 8),
            "spellcheck": "false",
            "style": "font-family: ui-monospace, monospace; font-size: 13px; max-width: 100%",
        }
    )


class ContextField(forms.JSONField):
    """JSON that is shown as people write it."""

    def prepare_value(self, value: Any) -> Any:
        """Indent it."""
        if value is None:
            return ""
        if isinstance(value, dict):
            return json.dumps(value, indent=2, ensure_ascii=False)
        return super().prepare_value(value)


class DraftForm(VersionForm):
    """The base of ``draft_form``."""

    new_locale = forms.CharField(
        required=False,
        max_length=20,
        label="Add a locale",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Such as de or de-AT. It starts as a copy of the default; "
        "empty all boxes of a locale to remove it.",
    )

    sample_context = ContextField(
        required=False,
        widget=source_box("json"),
        help_text="A value for each variable, as a JSON object. It must render.",
    )
    context_schema = ContextField(
        required=False,
        widget=source_box("json"),
        help_text="Optional: a JSON Schema that contexts must satisfy.",
    )

    class Meta:
        model = TemplateVersion
        fields = ("sample_context", "context_schema")

    def clean(self) -> dict[str, Any]:
        """Build the version as it would be published."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        version = self.instance
        version.variants = self._variants(cleaned)
        version.sample_context = cleaned.get("sample_context") or {}
        version.context_schema = cleaned.get("context_schema") or None
        try:
            prepare(version, build_isolated)
        except InvalidTemplate as error:
            self._show(error)
            return cleaned
        missing = sorted(set(version.required) - version.sample_context.keys())
        if missing:
            self.add_error("sample_context", f"Give sample values for: {', '.join(missing)}.")
        return cleaned

    def _variants(self, cleaned: dict[str, Any]) -> Variants:
        version = self.instance
        parts = parts_of(version.template.channel)
        variants: Variants = {}
        for locale in version.variants:
            sources = {part: cleaned.get(field_name(locale, part)) or "" for part in parts}
            written = {part: source for part, source in sources.items() if source.strip()}
            if written or locale == DEFAULT_LOCALE:
                variants[locale] = written
        new = cleaned.get("new_locale", "").replace("_", "-")
        if new and new not in variants:
            variants[new] = dict(variants[DEFAULT_LOCALE])
        return variants

    def _show(self, error: InvalidTemplate) -> None:
        name = field_name(error.locale, error.part)
        if name not in self.fields:
            name = "new_locale" if error.locale == self.cleaned_data.get("new_locale") else ""
        self.add_error(name or None, f"{error} {error.hint}".strip())


def draft_form(version: TemplateVersion) -> type[DraftForm]:
    """Make the form of a version: its boxes depend on its channel and locales."""
    boxes = {
        field_name(locale, part): forms.CharField(
            required=False,
            strip=False,
            label=part.upper() if part in HTML_PARTS else part.capitalize(),
            initial=version.variants[locale].get(part, ""),
            widget=source_box(part),
            help_text=_HELP.get(part, "") if version.template.channel in ("email", "push") else "",
        )
        for locale in locales_of(version.variants)
        for part in parts_of(version.template.channel)
    }
    return type("VersionDraftForm", (DraftForm,), boxes)


class PartialForm(PartialBase):
    """A layout or partial, refused if it can't be used."""

    class Meta:
        model = Partial
        fields = ("name", "description", "source")
        widgets = {"source": source_box()}

    def clean(self) -> dict[str, Any]:
        """Check syntax, names and cycles."""
        cleaned = super().clean() or {}
        name, source = cleaned.get("name"), cleaned.get("source")
        if name and source:
            try:
                check_partial_isolated(name, source, partials_reached_from([source]))
            except InvalidTemplate as error:
                self.add_error("source", f"{error} {error.hint}".strip())
        return cleaned
