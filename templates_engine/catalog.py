"""The process's cache of compiled versions: what to render a name or a pinned version with."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from time import monotonic

from templates_engine.conf import rendering_settings
from templates_engine.errors import TemplateNotFound, TemplateNotPublished, VersionNotFound
from templates_engine.models import Status, Template, TemplateVersion
from templates_engine.rendering import CompiledVersion

# A publish or roll back in another process is seen within this time; the promise is 2 s.
FRESH_SECONDS = 1.0
# Compiled versions kept per process; a version takes some 100 kB.
KEPT_VERSIONS = 256

_lock = threading.Lock()
# Names per process: of callers that name what there is not.
KEPT_NAMES = 10_000

_current: dict[tuple[str, str], tuple[float, int | None, str]] = {}
_compiled: OrderedDict[int, tuple[str, CompiledVersion]] = OrderedDict()


def published(name: str, namespaces: Sequence[str] = ("",)) -> CompiledVersion:
    """Return the published version of a template, at most ``FRESH_SECONDS`` out of date.

    The first of the ``namespaces`` that has one counts. Raises: TemplateNotFound,
    TemplateNotPublished.
    """
    for namespace in namespaces:
        version_id, checksum = _current_in(namespace, name)
        if version_id is not None:
            return _cached(version_id, checksum) or _load(version_id)
    if is_known(name, namespaces):
        raise TemplateNotPublished(
            f"Template {name!r} has no published version.", hint="Publish one of its drafts."
        )
    raise TemplateNotFound(
        f"There is no template {name!r}.", hint="Check the name, or load it with sync_templates."
    )


def is_known(name: str, namespaces: Sequence[str] = ("",)) -> bool:
    """Return whether there is a template of this name, published or not."""
    return Template.objects.filter(name=name, namespace__in=namespaces).exists()


def version(version_id: int) -> CompiledVersion:
    """Return a version by id, as a notification has it pinned; a draft is compiled each time.

    Raises: VersionNotFound.
    """
    return _cached(version_id) or _load(version_id)


def forget(name: str, namespace: str = "") -> None:
    """Look the template up again at its next use."""
    _current.pop((namespace, name), None)


def clear() -> None:
    """Forget everything, as after the database was replaced."""
    with _lock:
        _current.clear()
        _compiled.clear()


def compile_version(row: TemplateVersion) -> CompiledVersion:
    """Make a version renderable."""
    return CompiledVersion(
        id=row.pk or 0,
        template_name=row.template.name,
        channel=row.template.channel,
        category=row.template.category,
        required=frozenset(row.required),
        sources=row.compiled,
        schema=row.context_schema,
        **rendering_settings(),
    )


def _current_in(namespace: str, name: str) -> tuple[int | None, str]:
    """Return id and checksum of what is published under a name, or None and nothing."""
    found = _current.get((namespace, name))
    now = monotonic()
    if found is None or now - found[0] >= FRESH_SECONDS:
        if len(_current) >= KEPT_NAMES:
            _current.clear()
        found = (now, *_look_up(namespace, name))
        # One that was just made is found at once, where a live one does not stand in for it.
        if namespace or found[1] is not None:
            _current[namespace, name] = found
    return found[1:]


def _look_up(namespace: str, name: str) -> tuple[int | None, str]:
    rows = TemplateVersion.objects.filter(
        template__namespace=namespace, template__name=name, status=Status.PUBLISHED
    )
    return rows.values_list("id", "checksum").first() or (None, "")


def _cached(version_id: int, checksum: str | None = None) -> CompiledVersion | None:
    # The checksum tells a version from one of the same id whose transaction was rolled back.
    with _lock:
        kept = _compiled.get(version_id)
        if kept is None or checksum not in (None, kept[0]):
            return None
        _compiled.move_to_end(version_id)
        return kept[1]


def _load(version_id: int) -> CompiledVersion:
    row = TemplateVersion.objects.select_related("template").filter(pk=version_id).first()
    if row is None:
        raise VersionNotFound(f"There is no template version {version_id}.")
    compiled = compile_version(row)
    if row.status != Status.DRAFT:
        with _lock:
            _compiled[row.pk] = (row.checksum, compiled)
            while len(_compiled) > KEPT_VERSIONS:
                _compiled.popitem(last=False)
    return compiled
