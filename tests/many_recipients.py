"""Many stored recipients at once, by SQL: ``c-1`` and so on, whom the simulator reaches."""

from django.db import connection

RECIPIENTS = """
    INSERT INTO notifications_recipient (project, test, key, locale, timezone, country, attributes,
        choices, created_at, updated_at)
    SELECT 'default', false, 'c-' || n, '', '', '',
        jsonb_build_object('plan', 'gold', 'first_name', 'N' || n), '{}', now(), now()
    FROM generate_series(1, %s) AS n
"""
ADDRESSES = """
    INSERT INTO notifications_recipientaddress (recipient_id, channel, address, verified, place)
    SELECT id, 'simulator', key, false, 0 FROM notifications_recipient
"""


def fill(count: int) -> None:
    """Store so many."""
    with connection.cursor() as cursor:
        cursor.execute(RECIPIENTS, [count])
        cursor.execute(ADDRESSES)
        cursor.execute("ANALYZE notifications_recipient, notifications_recipientaddress")
