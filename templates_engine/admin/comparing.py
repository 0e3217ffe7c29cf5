"""The page that compares any two versions of a template."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from templates_engine.comparing import changes
from templates_engine.models import TemplateVersion


def compare_page(admin: ModelAdmin, request: HttpRequest, version_id: int) -> HttpResponse:
    """Show what differs from the version whose number ``with`` names, else from the one before."""
    version = get_object_or_404(TemplateVersion.objects.select_related("template"), pk=version_id)
    if not admin.has_view_permission(request, version):
        raise PermissionDenied
    versions = version.template.versions
    numbers = list(versions.order_by("-number").values_list("number", "status", "published_at"))
    known = {number for number, _, _ in numbers}
    asked = request.GET.get("with", "")
    before = max((number for number in known if number < version.number), default=version.number)
    number = int(asked) if asked.isdecimal() and int(asked) in known else before
    against = versions.get(number=number)
    return TemplateResponse(
        request,
        "templates_engine/admin/compare.html",
        {
            **admin.admin_site.each_context(request),
            "title": f"Compare: {version}",
            "version": version,
            "other": against,
            "numbers": numbers,
            "changes": [
                (locale, part, "\n".join(lines))
                for locale, part, lines in changes(against.variants, version.variants)
            ],
            "opts": TemplateVersion._meta,
        },
    )
