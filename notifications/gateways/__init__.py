"""Entry points that speak another system's protocol: Django's mail, SMTP."""
