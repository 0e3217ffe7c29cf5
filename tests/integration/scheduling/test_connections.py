"""What the server, its role or its database may set, a connection works with."""

from datetime import UTC, datetime

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("style", ["SQL,DMY", "German", "Postgres,MDY", "ISO,YMD"])
def test_times_are_read_in_whatever_style_the_server_would_write_them(style: str) -> None:
    own = connection.copy()
    options = {**own.settings_dict["OPTIONS"], "options": f"-c datestyle={style}"}
    own.settings_dict = {**own.settings_dict, "OPTIONS": options}
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT '2026-11-27 22:01:30+00'::timestamptz")
            [(moment,)] = cursor.fetchall()
    finally:
        own.close()
    assert moment == datetime(2026, 11, 27, 22, 1, 30, tzinfo=UTC)
