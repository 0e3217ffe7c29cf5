"""Every column that could name a recipient is known, and forgotten."""

import json
import re
from typing import Any

from django.db import connection
from django_celery_beat.models import PeriodicTask

from notifications.models import (
    ArchivedNotification,
    Chain,
    Consent,
    EventRule,
    Notification,
    Recipient,
    RecipientAddress,
)
from notifications.operations import personal_data
from scheduling.models import Schedule
from tests.integration.notifications.operations.ada import ADA, WORDS, dump

# Every column of text that could name a recipient, by its table; ``everything`` fills each of them.
PERSONAL = {
    "django_admin_log": {"object_repr", "change_message"},
    "django_celery_beat_periodictask": {"args", "kwargs"},
    "django_celery_results_groupresult": {"result"},
    "django_celery_results_taskresult": {
        *("task_args", "task_kwargs", "result", "traceback", "meta"),
    },
    "notifications_attempt": {"detail", "provider_message_id"},
    "notifications_audience": {"filter", "description"},
    "notifications_batch": {"name", "errors"},
    "notifications_chain": {"steps"},
    "notifications_chainrun": {"recipient_key", "idempotency_key"},
    "notifications_consent": {"text"},
    "notifications_digest": {"recipient_key", "recipient", "key"},
    "notifications_event": {"data", "key"},
    "notifications_throttleuse": {"recipient_key", "recipient"},
    "notifications_eventeffect": {"detail", "match"},
    "notifications_eventrule": {
        *("condition", "recipients", "to", "context", "match", "cancel_match"),
    },
    "notifications_expansion": {"filter", "fields", "variables"},
    "notifications_faileddelivery": {"detail", "history", "request", "resolution"},
    "notifications_hold": {"reason"},
    "notifications_mailcontent": {"fields"},
    "notifications_outboxmessage": {"recipient", "content"},
    "notifications_pendingreceipt": {"recipient", "detail"},
    "notifications_recipient": {"key", "attributes"},
    "notifications_recipientaddress": {"address"},
    "notifications_refusedrow": {"detail"},
    "notifications_suppression": {"recipient", "detail"},
    "scheduling_fire": {"call", "error", "history", "note", "resolution"},
    "scheduling_schedule": {"definition"},
}
OF_A_NOTIFICATION = {
    *("recipient", "context", "subject", "body", "reference", "metadata", "idempotency_key"),
    *("callback_url", "options", "recipient_key"),
}

PERSONAL["notifications_notification"] = OF_A_NOTIFICATION

PERSONAL["notifications_archivednotification"] = OF_A_NOTIFICATION | {"attempts"}

# An operator changes these: the command names them, and they go on until then.
TOLD_ONLY = {
    *("django_celery_beat_periodictask", "scheduling_schedule"),
    *("notifications_chain", "notifications_eventrule"),
}
# Tables of other packages whose rows are about no recipient: people who work here, and processes.
IMPERSONAL_TABLES = re.compile(
    r"auth_\w+|account_\w+|mfa_\w+|socialaccount_\w+|django_(content_type|migrations|session|site)"
    r"|config_auditentry"  # masks what it writes: test_audit.py
    r"|django_celery_beat_(?!periodictask$)\w+|django_celery_results_chordcounter"
)
# What is configured, or written for everybody, by table. The members of a chunk are primary keys,
# which mean nobody once the recipient is deleted.
CONFIGURED = {
    "notifications_accountrule": {"template", "country_prefix"},
    "notifications_apikey": {"prefix", "secret_hash", "scopes"},
    "notifications_bulkreplay": {"refused"},
    "notifications_category": {"title", "channel_defaults"},
    "notifications_chain": {"template"},
    "notifications_deliverywindow": {
        "template",
        "days",
        "if_late",
        "late_channel",
        "late_template",
    },
    "notifications_eventrule": {"template", "cancel_on"},
    "notifications_expansion": {"audience", "reasons"},
    "notifications_expansionchunk": {"members"},
    "notifications_provideraccount": {"settings", "secrets", "rate_limit"},
    "notifications_quarantinedrow": {"loop", "key", "stage", "place"},
    "notifications_queueweight": {"queue"},
    "notifications_ratelimit": {"template", "rate"},
    "notifications_throttle": {"rest", "template"},
    "scheduling_lease": {"owner"},
    "scheduling_uniquerun": {"key"},
    "scheduling_workerprocess": {"queues", "tasks"},
    "templates_engine_partial": {"source"},
    "templates_engine_templateversion": {
        *("variants", "sample_context", "context_schema", "compiled", "required", "checksum"),
    },
}
# Columns that hold words of the system's own.
IMPERSONAL = re.compile(
    r"id|\w+_id|channel|priority|locale|guarantee|retry|content_hash|traceparent|told_status"
    r"|continuation"  # the Celery tasks to call afterwards, for the seconds until they are called
    r"|status|state|reason|provider|throttle|result|choice|code|worker|project|namespace|error_class|kind"
    r"|fingerprint|digest|account|event|name|rule_name|outcome|cancellation|field|error|scope|value"
    r"|source|misfire|overlap|recurrence|groups|concurrency_key|unique_key|condition|origin|rule"
    r"|category|choices|means|quarantine_reason|cause|task|queue|exchange|routing_key|headers|description"
    r"|timezone|country|periodic_task_name|task_name|content_type|content_encoding|stored_as"
    r"|chain|stop_on|waits|skipped"
)


def columns_of_text() -> set[tuple[str, str]]:
    """Return every column of text or JSON of a table whose rows may be about a recipient."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema()"
            " AND data_type IN ('text', 'character varying', 'jsonb')"
        )
        # A month's partition has its table's columns.
        found = {
            (re.sub(r"(_\d+)+$|_default$", "", table), str(column))
            for table, column in cursor.fetchall()
        }
    return {(table, column) for table, column in found if not IMPERSONAL_TABLES.fullmatch(table)}


def filled() -> set[tuple[str, str]]:
    """Return the columns in which a word of Ada's stands."""
    return {
        (re.sub(r"(_\d+)+$|_default$", "", table), column)
        for table, row in dump()
        for column, value in json.loads(row).items()
        if any(word in json.dumps(value).lower() for word in WORDS)
    }


def test_every_column_that_could_name_a_recipient_is_known_and_emptied(
    everything: dict[Any, Any],
) -> None:
    PeriodicTask.objects.update(args=json.dumps([ADA]), kwargs=json.dumps({"to": ADA}))
    of_code = {"definition": {"kwargs": {"to": ADA}}}
    Schedule.objects.update_or_create(pk=PeriodicTask.objects.get().pk, defaults=of_code)
    Chain.objects.create(name="alarm", steps=[{"channel": "email", "recipient": ADA, "body": "B"}])
    expressions = ("condition", "recipients", "to", "match", "cancel_match")
    EventRule.objects.create(
        name="r", event="a.b", context={"to": f"'{ADA}'"}, **dict.fromkeys(expressions, f"'{ADA}'")
    )
    stored = Recipient.objects.create(key="c4711x", attributes={"name": "Ada Lovelace"})
    RecipientAddress.objects.create(recipient=stored, channel="email", address=ADA, place=0)
    Consent.objects.create(recipient=stored, category="a", means="sms", text="Stop, Ada Lovelace")
    for model in (Notification, ArchivedNotification):
        model._base_manager.filter(reference="c4711x").update(recipient_key="c4711x")
    personal = {(table, column) for table, columns in PERSONAL.items() for column in columns}
    configured = {(table, column) for table, columns in CONFIGURED.items() for column in columns}
    unknown = {
        (table, column)
        for table, column in columns_of_text() - personal - configured
        if not IMPERSONAL.fullmatch(column)
    }
    assert unknown == set()
    assert personal - filled() == set()  # else nothing is shown by what follows
    done = personal_data.forget(ADA)
    assert {table for table, _ in filled()} == TOLD_ONLY
    assert [done[name] for name in ("schedules", "chains", "event_rules")] == [1, 1, 1]
    for which in ("Schedules", "Chains", "Event rules"):
        assert f"{which} that still write" in personal_data.left_to_do(done)
