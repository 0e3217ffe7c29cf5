"""The admin's pages for templates."""

from templates_engine.admin import partial, template, version

__all__ = ["partial", "template", "version"]
