"""Published templates."""

from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import publish


def published(name: str, category: str, channel: str = "email") -> Template:
    """Publish a small template of this category."""
    template = Template.objects.create(name=name, channel=channel, category=category)
    variants = {"default": {"subject": "Hello", "text": "Dear {{ name|default('Ada') }}"}}
    draft = TemplateVersion.objects.create(template=template, number=1, variants=variants)
    publish(draft)
    return template
