"""Versions: a draft is written, previewed and published; what was published is only read."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import BaseDialogForm

from templates_engine import conf
from templates_engine.admin.comparing import compare_page
from templates_engine.admin.forms import draft_form, field_name
from templates_engine.admin.pages import action, answer, display, user_of
from templates_engine.admin.previewing import preview_page
from templates_engine.admin.template import STATUS_LABELS
from templates_engine.comparing import changes
from templates_engine.errors import TemplateError, VersionImmutable
from templates_engine.isolated import build_isolated
from templates_engine.models import ASKED, Status, TemplateVersion
from templates_engine.parts import locales_of, parts_of
from templates_engine.publishing import publish, roll_back

PUBLISH_DIALOG = {
    "title": "Publish this version?",
    "description": "New notifications get it within two seconds. Its content can't be changed "
    "afterwards; notifications that were accepted before keep the version they have.",
    "form_submit_text": "Publish",
}
ASK_DIALOG = {
    "title": "Ask a colleague to publish it?",
    "description": "The dashboard of everybody who may publish lists it, until somebody "
    "publishes or edits it.",
    "form_submit_text": "Ask",
}
ROLL_BACK_DIALOG = {
    "title": "Roll back to this version?",
    "description": "New notifications get it within two seconds.",
    "form_submit_text": "Roll back",
}


class AskedFilter(admin.SimpleListFilter):
    """By whether an author asks a colleague to publish it."""

    title = "waiting for a colleague"
    parameter_name = "asked"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes")]

    def queryset(self, _: HttpRequest, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows.filter(ASKED) if self.value() == "yes" else rows


@admin.register(TemplateVersion)
class TemplateVersionAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """New versions start on their template's page."""

    list_display = (
        *("__str__", "state", "created_at", "created_by", "edited_by", "asked_by"),
        *("published_at", "published_by"),
    )
    list_filter = ("status", AskedFilter, "template__channel")
    list_select_related = ("template", "created_by", "edited_by", "asked_by", "published_by")
    search_fields = ("template__name",)
    ordering = ("-id",)
    actions_detail = ("preview", "compare", "ask", "publish", "roll_back")
    readonly_fields = ("about", "needed", "changed", "sources", "sample", "schema")

    def get_form(
        self, request: HttpRequest, obj: TemplateVersion | None = None, *_: Any, **options: Any
    ) -> Any:
        """Use the boxes of this version's channel and locales."""
        if obj is not None and self.has_change_permission(request, obj):
            options["form"] = draft_form(obj)
            options["fields"] = None
        return super().get_form(request, obj, **options)

    def get_fieldsets(self, request: HttpRequest, obj: TemplateVersion | None = None) -> Any:
        """One set of boxes for each locale; for a frozen version, its sources."""
        about = (None, {"fields": ("about", "needed", "changed")})
        if obj is None or not self.has_change_permission(request, obj):
            return [about, ("Content", {"fields": ("sources", "sample", "schema")})]
        boxes = [
            (
                f"Content: {locale}",
                {"fields": [field_name(locale, part) for part in parts_of(obj.template.channel)]},
            )
            for locale in locales_of(obj.variants)
        ]
        context = ("Context", {"fields": ("sample_context", "context_schema")})
        return [about, *boxes, ("Locales", {"fields": ("new_locale",)}), context]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **options: Any
    ) -> HttpResponse:
        """Say so when somebody has published the draft while it was being saved."""
        try:
            page: HttpResponse = super().changeform_view(request, object_id, *args, **options)
        except VersionImmutable as error:
            return answer(request, request.path, f"{error} {error.hint}", failed=True)
        return page

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        frozen = obj is not None and obj.status != Status.DRAFT
        return not frozen and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Django's bulk delete would go round delete(), so only one draft at a time.
        draft = obj is not None and obj.status == Status.DRAFT
        return draft and bool(super().has_delete_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Keep who wrote it; what was asked of a colleague was about what it said before."""
        obj.edited_by, obj.asked_by = user_of(request), None
        super().save_model(request, obj, form, change)

    def has_ask_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        drafts = TemplateVersion.objects.filter(status=Status.DRAFT)
        may: bool = super().has_change_permission(request)
        return may and (object_id is None or drafts.filter(pk=object_id).exists())

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may_move(request, object_id, Status.DRAFT)

    def has_roll_back_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may_move(request, object_id, Status.ARCHIVED)

    def _may_move(self, request: HttpRequest, object_id: Any, status: Status) -> bool:
        if not request.user.has_perm("templates_engine.publish_templateversion"):
            return False
        versions = TemplateVersion.objects.filter(status=status)
        return object_id is None or versions.filter(pk=object_id).exists()

    @display(description="Status", label=STATUS_LABELS)
    def state(self, version: TemplateVersion) -> str:
        return version.status

    @display(description="Version")
    def about(self, version: TemplateVersion) -> SafeString:
        template = version.template
        page = reverse("admin:templates_engine_template_change", args=[template.pk])
        words = [f"{version.status}, {template.category} {template.channel}"]
        people = {
            "started by": version.created_by,
            "edited by": version.edited_by,
            "published by": version.published_by,
        }
        words += [f"{act} {person}" for act, person in people.items() if person]
        if version.asked_by and version.status == Status.DRAFT:
            words.append(f"{version.asked_by} asks a colleague to publish it")
        link = '<a class="underline" href="{}">{}</a> v{}, {}'
        return format_html(link, page, template, version.number, ", ".join(words))

    @display(description="Needed variables")
    def needed(self, version: TemplateVersion) -> SafeString | str:
        items = format_html_join(", ", "<code>{}</code>", ((name,) for name in version.required))
        return items or "none"

    @display(description="Changed since the version before")
    def changed(self, version: TemplateVersion) -> SafeString | str:
        """Return what differs from the version before, as it is saved."""
        earlier = version.template.versions.filter(number__lt=version.number)
        before = earlier.order_by("-number").first()
        if before is None:
            return "It is the first one."
        found = [
            (locale, part, _pre("\n".join(lines)))
            for locale, part, lines in changes(before.variants, version.variants)
        ]
        shown = format_html_join("", "<div><strong>{}, {}</strong>{}</div>", found)
        return shown or f"Nothing: it says the same as v{before.number}."

    @display(description="Sources")
    def sources(self, version: TemplateVersion) -> SafeString:
        return format_html_join(
            "",
            "<div><strong>{}, {}</strong>{}</div>",
            (
                (locale, part, _pre(source))
                for locale in locales_of(version.variants)
                for part, source in version.variants[locale].items()
            ),
        )

    @display(description="Sample context")
    def sample(self, version: TemplateVersion) -> SafeString:
        return _pre(json.dumps(version.sample_context, indent=2, ensure_ascii=False))

    @display(description="Context schema")
    def schema(self, version: TemplateVersion) -> SafeString | str:
        if version.context_schema is None:
            return "none"
        return _pre(json.dumps(version.context_schema, indent=2, ensure_ascii=False))

    def get_urls(self) -> list[URLPattern]:
        """Add the preview and the comparison."""
        pages = {"preview": self._preview_page, "compare": self._compare_page}
        own = [
            path(
                f"<int:version_id>/{name}-page/",
                self.admin_site.admin_view(page),
                name=f"templates_engine_templateversion_{name}_page",
            )
            for name, page in pages.items()
        ]
        return [*own, *super().get_urls()]

    def _preview_page(self, request: HttpRequest, version_id: int) -> HttpResponse:
        return preview_page(self, request, version_id)

    @action(description="Preview", icon="visibility", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return redirect("admin:templates_engine_templateversion_preview_page", object_id)

    def _compare_page(self, request: HttpRequest, version_id: int) -> HttpResponse:
        return compare_page(self, request, version_id)

    @action(description="Compare", icon="difference", permissions=["view"])
    def compare(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return redirect("admin:templates_engine_templateversion_compare_page", object_id)

    @action(description="Ask a colleague", icon="group", permissions=["ask"], dialog=ASK_DIALOG)
    def ask(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        version = TemplateVersion.objects.get(pk=object_id)
        drafts = TemplateVersion.objects.filter(pk=object_id, status=Status.DRAFT)
        drafts.update(asked_by=user_of(request))
        self.log_change(request, version, "Asked a colleague to publish it.")
        return answer(request, _page(version), "Whoever may publish sees it on the dashboard.")

    @action(description="Publish", icon="publish", permissions=["publish"], dialog=PUBLISH_DIALOG)
    def publish(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        version = TemplateVersion.objects.get(pk=object_id)
        try:
            publish(
                version,
                by=user_of(request),
                builder=build_isolated,
                needs_colleague=conf.has_two_person_rule(),
            )
        except TemplateError as error:
            return answer(request, _page(version), f"{error} {error.hint}", failed=True)
        self.log_change(request, version, "Published.")
        return answer(request, _page(version), f"{version} is live.")

    @action(
        description="Roll back to this version",
        icon="history",
        permissions=["roll_back"],
        dialog=ROLL_BACK_DIALOG,
    )
    def roll_back(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: int
    ) -> HttpResponse:
        version = TemplateVersion.objects.get(pk=object_id)
        try:
            roll_back(version.template, version.number, by=user_of(request))
        except TemplateError as error:
            return answer(request, _page(version), f"{error} {error.hint}", failed=True)
        self.log_change(request, version, "Rolled back to it.")
        return answer(request, _page(version), f"{version} is live again.")


def _page(version: TemplateVersion) -> str:
    return reverse("admin:templates_engine_templateversion_change", args=[version.pk])


def _pre(text: str) -> SafeString:
    style = "white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; margin: 4px 0 16px"
    return format_html('<pre style="{}">{}</pre>', style, text)
