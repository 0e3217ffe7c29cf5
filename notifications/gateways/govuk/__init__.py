"""The v2 API of GOV.UK Notify, for programs that use its clients: below ``/v2/``.

https://docs.notifications.service.gov.uk/rest-api.html says what it answers. Each call does what
the same call of our own API does, by the same functions.
"""
