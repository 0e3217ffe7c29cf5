"""Accepts notifications as fast as it is told, and writes down each id that it was given.

``python -m tests.chaos.submitter COUNT PER_SECOND FILE CHANCE``. What is in the file was accepted:
``apply_async`` had returned. Every fifth goes by email, every third asks for at most once. With
that chance it dies right after a commit or a publish; started again, it goes on where it was.
"""

import os
import sys
import time
from pathlib import Path

import django


def main() -> None:
    count, per_second, path = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.db import DatabaseError, connection

    from notifications.tasks import send_notification
    from tests.chaos.faults import plant

    plant(float(sys.argv[4]))
    started = time.monotonic()
    before = len(path.read_text().splitlines()) if path.exists() else 0
    done = before
    with path.open("a", buffering=1) as accepted:
        while done < count:
            email = done % 5 == 0
            at_most_once = done % 3 == 0
            try:
                result = send_notification.apply_async(
                    kwargs={
                        "channel": "email" if email else "simulator",
                        "recipient": f"user{done}@example.org",
                        "subject": "Chaos",
                        "body": "Still here",
                        "guarantee": "at_most_once" if at_most_once else "at_least_once",
                        "retry": {"base": 1, "cap": 2, "max_attempts": 50},
                    },
                    priority=("high", "medium", "low")[done % 3],
                    countdown=2 if done % 7 == 0 else None,
                )
            except DatabaseError:  # not accepted: a caller would try again, and so do we
                connection.close()
                time.sleep(0.2)
                continue
            accepted.write(f"{result.id} {'once' if at_most_once else 'least'}\n")
            done += 1
            ahead = (done - before) / per_second - (time.monotonic() - started)
            if ahead > 0:
                time.sleep(ahead)


if __name__ == "__main__":
    main()
