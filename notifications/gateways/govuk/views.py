"""The operations of GOV.UK Notify's v2 API."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

import phonenumbers
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from notifications import submission
from notifications.api import authentication, declared_charset
from notifications.api.bodies import read_json
from notifications.api.problems import Problem
from notifications.channels import given_headers
from notifications.core.world import World
from notifications.gateways.govuk import answers, client_keys, documents, personalisation
from notifications.gateways.govuk.answers import Refused
from notifications.models import ApiKey, ArchivedNotification, Notification, NotificationRecord
from notifications.models.project import within
from templates_engine import catalog
from templates_engine.errors import TemplateError, TemplateNotFound, TemplateNotPublished
from templates_engine.models import Status, Template, TemplateVersion
from templates_engine.parts import Content
from templates_engine.rendering import CompiledVersion

PAGE = 250  # rows of a page, as there
REGION = "GB"  # of a phone number without a country code
# Numbers that nobody has (Ofcom keeps them for dramas), which examples and tests use.
_FOR_DRAMA = re.compile(r"7700900\d{3}")
Scope = ApiKey.Scope
View = Callable[..., dict[str, Any]]


class Call(NamedTuple):
    """One request: whose it is, and where the API is."""

    request: HttpRequest
    world: World
    root: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent. Raises ``Problem`` and ``Refused``."""
        declared_charset.require_utf_8(self.request)
        body = read_json(self.request.body)
        if not isinstance(body, dict):
            raise Refused("The body must be an object")
        return body


OPERATIONS: dict[str, tuple[str, Scope]] = {}
"""Each operation's method and scope, by its name; the walk over all of them reads it."""


def operation(method: str, scope: Scope, status: int = HTTPStatus.OK) -> Callable[[View], Any]:
    """Make a view of a function: check the key, and answer in the form of GOV.UK Notify."""

    def decorate(view: View) -> Callable[..., JsonResponse]:
        OPERATIONS[view.__name__] = (method, scope)

        @csrf_exempt
        @wraps(view)
        def answer(request: HttpRequest, **values: Any) -> JsonResponse:
            if request.method != method:
                return answers.refuse(request, Problem("method-not-allowed"))
            try:
                key = authentication.permit(request, scope, client_keys.find)
                request.auth = key  # type: ignore[attr-defined]  # as ninja does, for who asks later
                call = Call(request, key.world, request.build_absolute_uri("/v2"))
                return JsonResponse(view(call, **values), status=status)
            except Exception as error:  # noqa: BLE001 -- each becomes an answer
                return answers.refuse(request, error)

        return answer

    return decorate


@operation("POST", Scope.SEND, HTTPStatus.CREATED)
def send_email(call: Call) -> dict[str, Any]:
    """Send an email: ``email_address``, ``template_id``, ``personalisation``, ``reference``."""
    fields = _fields(
        call.body,
        "email_address",
        optional=("email_reply_to_id", "one_click_unsubscribe_url", "sanitise_content_for"),
    )
    given: dict[str, Any] = {"channel": "email", "recipient": fields["email_address"]}
    if reply_to := fields.get("email_reply_to_id"):
        if "@" not in str(reply_to):
            raise Refused("email_reply_to_id must be an email address here", "BadRequestError")
        given["reply_to"] = [reply_to]
    if url := fields.get("one_click_unsubscribe_url"):
        if not given_headers.is_one_click(url):
            raise Refused("one_click_unsubscribe_url is not a valid https url")
        given["headers"] = {
            "List-Unsubscribe": f"<{url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    return _send(call, given, fields)


@operation("POST", Scope.SEND, HTTPStatus.CREATED)
def send_sms(call: Call) -> dict[str, Any]:
    """Send a text message; a number without a country code is a British one."""
    fields = _fields(call.body, "phone_number", optional=("sms_sender_id",))
    if fields.get("sms_sender_id"):
        raise Refused(
            "sms_sender_id is not known here: an account's settings name the sender",
            "BadRequestError",
        )
    return _send(call, {"channel": "sms", "recipient": _phone(fields["phone_number"])}, fields)


@operation("POST", Scope.SEND)
def send_letter(_: Call) -> dict[str, Any]:
    """Refuse a letter: there is no such channel."""
    raise Refused("Letters cannot be sent here", "BadRequestError")


@operation("GET", Scope.READ)
def get_notification(call: Call, notification_id: UUID) -> dict[str, Any]:
    """Return a notification as it stands."""
    live, archived = (
        _readable(table, call.world).filter(id=notification_id).first()
        for table in (Notification, ArchivedNotification)
    )
    row = live or archived
    if row is None:
        raise Problem("not-found")
    return documents.notification(row, _content(row), call.root)


@operation("GET", Scope.READ)
def list_notifications(call: Call) -> dict[str, Any]:
    """List what was sent, newest first, 250 a page; ``older_than`` leads to the next."""
    query = call.request.GET
    known = {"status", "template_type", "reference", "older_than", "include_jobs"}
    if unknown := query.keys() - known:
        raise Refused(f"Additional properties are not allowed ({min(unknown)} was unexpected)")
    rows = _readable(Notification, call.world).filter(channel__in=documents.TYPES)
    if "include_jobs" not in query:
        rows = rows.filter(batch=None)
    if kinds := _kinds(query.getlist("template_type"), "template_type"):
        rows = rows.filter(channel__in=kinds)
    if reference := query.get("reference"):
        rows = rows.filter(reference=reference)
    if words := query.getlist("status"):
        rows = rows.filter(_any_status(words))
    if older_than := query.get("older_than"):
        rows = _older(rows, call.world, older_than)
    page = list(rows.order_by("-created_at", "-pk")[:PAGE])
    links = {"current": call.request.build_absolute_uri()}
    if page:  # as there: the last page leads to an empty one
        following = query.copy()
        following["older_than"] = str(page[-1].id)
        links["next"] = f"{call.root}/notifications?{following.urlencode()}"
    found = (documents.notification(row, _content(row), call.root) for row in page)
    return documents.page("notifications", found, links)


@operation("GET", Scope.READ)
def get_template(call: Call, template_id: str, number: int | None = None) -> dict[str, Any]:
    """Return a template's published version, or the one with a number."""
    return documents.template(_version(call.world, template_id, number))


@operation("GET", Scope.READ)
def list_templates(call: Call) -> dict[str, Any]:
    """List the published versions of all templates of emails and text messages."""
    kinds = _kinds(call.request.GET.getlist("type"), "type") or list(documents.TYPES)
    rows = _versions(call.world).filter(status=Status.PUBLISHED, template__channel__in=kinds)
    return {"templates": [documents.template(row) for row in rows.order_by("template__name")]}


@operation("POST", Scope.READ)
def preview_template(call: Call, template_id: str) -> dict[str, Any]:
    """Render a template's published version without sending it."""
    version = _version(call.world, template_id)
    compiled = catalog.compile_version(version)
    context = _context(call.body, compiled)
    compiled.check(context)
    return documents.preview(version, compiled.render(context, None, compiled.sample_links))


@operation("GET", Scope.READ)
def list_received_texts(call: Call) -> dict[str, Any]:
    """List no text messages: none are received here."""
    link = call.request.build_absolute_uri()
    return documents.page("received_text_messages", [], {"current": link})


@csrf_exempt
def nothing_here(request: HttpRequest, rest: str) -> JsonResponse:
    """Answer any other address below ``/v2/``."""
    return answers.refuse(request, Problem("not-found", rest))


def _send(call: Call, given: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        compiled = catalog.published(str(fields["template_id"]), call.world.namespaces)
    except (TemplateNotFound, TemplateNotPublished):
        raise Refused("Template not found", "BadRequestError") from None
    channel = given["channel"]
    if compiled.channel != channel:
        raise Refused(
            f"{compiled.channel} template is not suitable for {channel} notification",
            "BadRequestError",
        )
    context = _context(fields, compiled)
    compiled.check(context)
    content = compiled.render(context, None, compiled.sample_links)
    submitted = submission.submit(
        {
            **given,
            "template": compiled.template_name,
            "context": context,
            "reference": fields.get("reference") or "",
            "project": call.world.project,
            "test": call.world.test,
        },
        version=compiled,
    )
    number = TemplateVersion.objects.values_list("number", flat=True).get(pk=compiled.id)
    url = fields.get("one_click_unsubscribe_url")
    return documents.created(
        submitted.notification, compiled, number, content, root=call.root, unsubscribe_url=url
    )


def _fields(body: dict[str, Any], address: str, optional: tuple[str, ...]) -> dict[str, Any]:
    """Check the names of a request to send. Raises ``Refused``."""
    for name in (address, "template_id"):
        if not isinstance(body.get(name), str) or not body[name]:
            problem = (
                "is a required property" if body.get(name) in (None, "") else "is not a string"
            )
            raise Refused(f"{name} {problem}")
    known = {address, "template_id", "personalisation", "reference", *optional}
    if unknown := body.keys() - known:
        raise Refused(f"Additional properties are not allowed ({min(unknown)} was unexpected)")
    return body


def _context(body: Mapping[str, Any], version: CompiledVersion) -> dict[str, Any]:
    given = body.get("personalisation") or {}
    if not isinstance(given, Mapping):
        raise Refused("personalisation is not of type object")
    for name, value in given.items():
        if isinstance(value, Mapping):
            raise Refused(
                f"personalisation {name}: a file cannot be sent by a link here", "BadRequestError"
            )
    return personalisation.context_of(given, version.required)


def _kinds(given: list[str], field: str) -> list[str]:
    """Check types of templates. Raises ``Refused``."""
    known = [*documents.TYPES, "letter"]
    if unknown := next((kind for kind in given if kind not in known), ""):
        raise Refused(f"{field} {unknown} is not one of [{', '.join(known)}]")
    return given


def _phone(given: str) -> str:
    """Add the country code that a British number may lack; submission checks the rest."""
    try:
        number = phonenumbers.parse(given, REGION)
    except phonenumbers.NumberParseException:
        raise Refused("phone_number Not a valid phone number") from None
    if given.lstrip().startswith("+") or number.extension:
        return given
    if not (
        phonenumbers.is_valid_number(number) or _FOR_DRAMA.fullmatch(str(number.national_number))
    ):
        raise Refused("phone_number Not a valid phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _readable(table: type[Notification | ArchivedNotification], world: World) -> "QuerySet[Any]":
    rows: QuerySet[Any] = within(table.objects.all(), world)
    return rows.select_related("template_version__template")


def _any_status(words: list[str]) -> Any:
    try:
        condition, *others = map(documents.with_status, words)
    except KeyError as error:
        known = ", ".join([*documents.WORDS, "failed"])
        raise Refused(f"status {error.args[0]} is not one of [{known}]") from None
    for other in others:
        condition |= other
    return condition


def _older(rows: "QuerySet[Any]", world: World, text: str) -> "QuerySet[Any]":
    """Keep the rows that are older than one of this world's; none where it is not there."""
    try:
        last = _readable(Notification, world).filter(id=UUID(text)).first()
    except ValueError:
        raise Refused("older_than is not a valid UUID") from None
    if last is None:
        return rows.none()
    age = Tuple(F("created_at"), F("pk"))
    return rows.filter(TupleLessThan(age, (last.created_at, last.pk)))


def _content(row: NotificationRecord) -> Content:
    """Render what was sent; a row without a template has its own text."""
    if row.template_version_id is None:
        return {"subject": row.subject, "text": row.body}
    try:
        version = catalog.version(row.template_version_id)
        return version.render(row.context, row.locale, version.sample_links)
    except TemplateError:
        return {}


def _versions(world: World) -> "QuerySet[TemplateVersion]":
    own = Template.objects.filter(namespace__in=world.namespaces)
    return TemplateVersion.objects.filter(template__in=own).select_related("template", "created_by")


def _version(world: World, name: str, number: int | None = None) -> TemplateVersion:
    """Return a version, the published one where no number is given. Raises ``Problem`` 404.

    Of two templates of one name, that of a test hides the live one.
    """
    wanted = {"status": Status.PUBLISHED} if number is None else {"number": number}
    found = _versions(world).filter(template__name=name, **wanted)
    for namespace in world.namespaces:
        for row in found:
            if row.template.namespace == namespace:
                return row
    raise Problem("not-found")
