"""The name by which Django knows this package."""

from django.apps import AppConfig


class ServerConfig(AppConfig):
    name = "oaiofs.server"
    label = "oaio"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .waiting import watch

        watch()
