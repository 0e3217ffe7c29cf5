"""The admin's login by django-allauth: OpenID Connect, and a second factor (TOTP).

Nothing of it is loaded unless ``ADMIN_OIDC_ISSUER`` or ``ADMIN_SECOND_FACTOR`` is set; it needs the
extra ``sso``.
"""
