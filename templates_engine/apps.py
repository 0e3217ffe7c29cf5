from django.apps import AppConfig


class TemplatesEngineConfig(AppConfig):
    name = "templates_engine"
    verbose_name = "templates"
    default_auto_field = "django.db.models.BigAutoField"
