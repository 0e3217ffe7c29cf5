"""The floor for email: queue with django-post_office, then send with two processes.

``python -m bench.post_office MAILS`` prints the seconds that it took.
"""

import os
import sys
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.post_office_settings"


def main(mails: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from post_office import mail
    from post_office.models import STATUS, Email, EmailTemplate

    call_command("migrate", verbosity=0, interactive=False)
    Email.objects.all().delete()
    template, _ = EmailTemplate.objects.get_or_create(
        name="bench",
        defaults={
            "subject": "Hello {{ name }}",
            "content": "Dear {{ name }}, your code is {{ code }}.",
            "html_content": "<p>Dear {{ name }}, your code is <b>{{ code }}</b>.</p>",
        },
    )
    started = time.perf_counter()
    mail.send_many(
        {
            "sender": "shop@example.org",
            "recipients": [f"user{n}@example.org"],
            "template": template,
            "context": {"name": f"User {n}", "code": n},
        }
        for n in range(mails)
    )
    call_command("send_queued_mail", processes=2, lockfile="/tmp/bench-post-office", verbosity=0)
    seconds = time.perf_counter() - started
    sent = Email.objects.filter(status=STATUS.sent).count()
    if sent != mails:
        raise RuntimeError(f"Of {mails} mails, {sent} were sent.")
    print(f"seconds {seconds}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
