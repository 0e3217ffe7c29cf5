"""One signature, used twice, is two intents: what is sent by it is sent twice."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import chain, chord, current_app, group

from notifications import submission
from notifications.canvas.deliveries import deliver_one
from notifications.core.errors import DeliveryFailed, IdempotencyConflict, UnsupportedForm
from notifications.models import WAITING, FailedDelivery, Notification, Status
from notifications.tasks import send_notification, send_to_each
from tests.integration.notifications.canvas import tasks
from tests.integration.notifications.canvas.tasks import fail, note
from tests.servers.processes import Processes

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


def parts(form: Any) -> Callable[..., Any]:
    """Return what makes the signatures of a form's sends, by a letter each."""

    def send(letter: Any, **changes: Any) -> Any:
        fields = {**SIMULATED, "reference": letter, "metadata": {"form": form}, **changes}
        return send_notification.s(**fields)

    return send


def frozen(signature: Any) -> Any:
    signature.freeze()
    return signature


def one_link_twice(send: Any) -> Any:
    link = frozen(send("b"))
    return send("a").set(link=[link, link])


FORMS: dict[str, Callable[..., Any]] = {
    "chain": lambda s: chain(s("a"), s("b")),
    "long chain": lambda s: chain(s("a"), s("b"), s("c")),
    "chain of one": lambda s: chain([s("a")]),
    "chain that ends in a group": lambda s: chain(s("a"), group(s("b"), s("c"))),
    "group in a chain": lambda s: chain(group(s("a"), s("b")), s("c")),
    "group": lambda s: group(s("a"), s("b")),
    "group of chains": lambda s: group(chain(s("a"), s("b")), s("c")),
    "chord": lambda s: chord([s("a"), s("b")], s("c")),
    "chord in a chain": lambda s: chain(s("a"), chord([s("b"), s("c")], s("d")), s("e")),
    "chord of chains": lambda s: chord([chain(s("a"), s("b")), s("c")], s("d")),
    "frozen": lambda s: frozen(s("a")),
    "frozen chain": lambda s: frozen(chain(s("a"), s("b"))),
    "frozen group": lambda s: frozen(group(s("a"), s("b"))),
    "frozen link": lambda s: s("a").set(link=frozen(s("b"))),
    "one link twice": one_link_twice,
    "frozen error link": lambda s: s("a", recipient="ada?result=permanent").set(
        link_error=frozen(s("b"))
    ),
    "linked chain": lambda s: s("a").set(link=frozen(chain(s("b"), s("c")))),
    "frozen chord, again": lambda s: frozen(chord([s("a"), s("b")], s("c"))),
}
COUNTS = {("one link twice", "b"): 4}


def deliver_all() -> None:
    while ids := list(Notification.objects.filter(status__in=WAITING).values_list("id", flat=True)):
        for id_ in ids:
            deliver_one_quietly(id_)


def deliver_one_quietly(id_: Any) -> None:
    with suppress(DeliveryFailed):
        deliver_one(id_, worker="test")


def sent() -> Counter[Any]:
    """Count what was sent, by form and part of it."""
    done = Notification.objects.exclude(reference="").filter(finished_at__isnull=False)
    return Counter(done.values_list("metadata__form", "reference"))


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at once"])
def test_each_use_of_a_canvas_sends_all_of_it(transactional_db: None, together: bool) -> None:
    for name, make in FORMS.items():
        if together and name == "frozen chord, again":
            continue
        canvas = make(parts(name))
        canvas.apply_async()
        if not together:
            deliver_all()
        canvas.apply_async()
    deliver_all()
    counts = sent()
    assert {name for name, _ in counts} >= set(FORMS) - {"frozen chord, again"}
    assert {name: count for name, count in counts.items() if count != COUNTS.get(name, 2)} == {}


def test_a_chord_with_an_id_of_its_own_is_refused_while_its_first_use_runs(
    transactional_db: None,
) -> None:
    send = parts("frozen chord")
    canvas = frozen(chord([send("a"), send("b")], send("c")))
    canvas.apply_async()
    with pytest.raises(UnsupportedForm, match="another use of it still runs"):
        canvas.apply_async()
    deliver_all()
    assert set(sent().values()) == {1}


def test_an_id_of_ones_own_is_used_once_and_for_other_content_refused(
    transactional_db: None,
) -> None:
    send = parts("own id")
    for _ in range(2):
        send("a").set(task_id="order-7").apply_async()
    with pytest.raises(IdempotencyConflict) as refused:
        send("b").set(task_id="order-7").apply_async()
    assert refused.value.field == "task_id"
    with pytest.raises(IdempotencyConflict):  # the same content, but by its key another intent
        send("a", idempotency_key="second").set(task_id="order-7").apply_async()
    assert [row.reference for row in Notification.objects.all()] == ["a"]


def test_a_key_says_what_is_the_same_whichever_use_it_is_in(transactional_db: None) -> None:
    send = parts("key")
    keyed = chain(send("a"), send("b", idempotency_key="the one"))
    for _ in range(2):
        keyed.apply_async()
    deliver_all()
    assert sent() == {("key", "a"): 2, ("key", "b"): 1}


def test_a_further_use_is_not_revoked_with_the_first(transactional_db: None) -> None:
    send = parts("revoked")
    canvas = chain(send("a"), send("b", countdown=600))
    first = canvas.apply_async()
    (row,) = Notification.objects.all()
    deliver_one(row.id, worker="test")
    submission.cancel(first.id)
    canvas.apply_async()
    deliver_one(Notification.objects.get(status=Status.QUEUED).id, worker="test")
    last = Notification.objects.filter(reference="b").values_list("status", flat=True)
    assert sorted(last) == [Status.CANCELLED, Status.SCHEDULED]


def test_each_use_that_cannot_be_accepted_is_a_dead_letter(transactional_db: None) -> None:
    send = parts("refused")
    canvas = chain(send("a"), send("b"))
    for _ in range(2):
        canvas.apply_async()
    for row in Notification.objects.all():
        (row.continuation or {})["chain"][0]["kwargs"]["channel"] = "pigeon"
        row.save()
    deliver_all()
    assert FailedDelivery.objects.filter(error_class="UnknownChannel").count() == 2


def test_workers_send_each_use_and_a_message_that_comes_again_once(
    processes: Processes, wait_until: Callable[..., Any], redis_client: redis.Redis
) -> None:
    """Where it is Celery's worker that calls the send."""
    processes.worker("-c", "2", "-I", tasks.__name__)
    forms: dict[str, Callable[..., Any]] = {
        "after a job": lambda s: chain(note.si(), s("a")),
        "linked to a job": lambda s: note.si().set(link=frozen(s("a"))),
        "body of jobs": lambda s: chord([note.si(), note.si()], s("a")),
        "body of frozen jobs": lambda s: chain(group(note.si(), note.si()), s("a")),
        "after a failure": lambda s: fail.si().set(link_error=frozen(s("a"))),
    }
    for form, make in forms.items():
        canvas = make(parts(form))
        for _ in range(2):
            canvas.apply_async()
    to_each = {**SIMULATED, "metadata": {"form": "each"}, "reference": "a"}
    del to_each["recipient"]
    each = send_to_each.si(["ada", "bob"], **to_each)
    for canvas in (chain(note.si(), each.clone()), frozen(each)):
        for _ in range(2):
            canvas.apply_async()

    # The same message, or the same run, again: the same intent.
    last = frozen(parts("a run that is repeated")("a"))
    name, fields = last.task, last.kwargs
    again = {**fields, "metadata": {"form": "delivered again"}}
    for _ in range(2):
        note.apply_async(task_id="the same run", chain=[last])
        for parent in ("job 1", "job 2"):
            current_app.send_task(name, kwargs=again, task_id="one", parent_id=parent, root_id="r")
        current_app.send_task(each.task, (["eve"],), {**to_each, "reference": "b"}, task_id="each")
    expected = {(form, "a"): 2 for form in (*forms, "delivered again")}
    expected |= {("a run that is repeated", "a"): 1, ("each", "a"): 8, ("each", "b"): 1}
    wait_until(lambda: sent() == expected)
    note.delay(what="the end")
    wait_until(lambda: ("the end", []) in tasks.calls(redis_client))
    assert sent() == expected
