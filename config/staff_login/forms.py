"""The forms that ask for the code of a second factor: wrong ones are counted, as passwords are."""

from allauth.mfa.base import forms
from django.core.exceptions import ValidationError

from config import login_throttle


class _Counted:
    def clean_code(self) -> str:
        """Return the code. Raises ValidationError, also if there were too many wrong ones."""
        user = self.user  # type: ignore[attr-defined]
        if login_throttle.second_factor_must_wait(user.pk):
            raise ValidationError("Too many wrong codes. Try again later.")
        try:
            code: str = super().clean_code()  # type: ignore[misc]
        except ValidationError:
            login_throttle.count_second_factor(user.pk)
            raise
        return code


class AuthenticateForm(_Counted, forms.AuthenticateForm):  # type: ignore[misc]  # allauth is skipped by mypy
    """Asked for at a login."""


class ReauthenticateForm(_Counted, forms.ReauthenticateForm):  # type: ignore[misc]  # as above
    """Asked for before a second factor is changed."""
