"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """An order of a customer."""

    customer = models.EmailField()

    def __str__(self) -> str:
        return f"Order {self.pk}"
