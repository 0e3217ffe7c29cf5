"""Templates as files, so that they can live in git: one folder is read, compared and written.

partials/NAME.html            a layout or partial (.txt for one of plain text)
NAME/template.json            channel, category, description
NAME/sample.json              the sample context
NAME/schema.json              the context schema, if any
NAME/subject.txt  html.html   the default locale's parts
NAME/de/subject.txt           another locale's
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from templates_engine.building import build
from templates_engine.composition import check_partial
from templates_engine.errors import InvalidTemplate
from templates_engine.models import Category, Partial, Status, Template, TemplateVersion
from templates_engine.partials import partials_reached_from
from templates_engine.parts import (
    BLOCK_PARTS,
    DEFAULT_LOCALE,
    HTML_PARTS,
    JSON_PARTS,
    MARKDOWN_PARTS,
    Variants,
    parts_of,
)
from templates_engine.publishing import create_version, draft_of, publish

PARTIALS = "partials"
# Each tells whether a namespace is one. The delivering package registers its own here.
namespace_checks: list[Callable[[str], bool]] = []
Files = dict[str, str]
"""Path inside a folder → text."""


@dataclass(frozen=True)
class Change:
    """What loading did, or would do, to one template or partial. ``diff`` is a unified diff."""

    name: str
    action: str
    diff: str


def load(
    folder: Path,
    *,
    dry_run: bool = False,
    as_draft: bool = False,
    by: User | None = None,
    namespace: str = "",
    told: Callable[[Change], None],
) -> None:
    """Load a folder into a namespace, all or nothing. What is there already is left alone.

    A template whose layout or partial has changed gets a new version, too. ``told`` gets each
    change as soon as it is made, before it is committed.
    Raises: InvalidTemplate, naming the template.
    """
    with transaction.atomic():
        for change in _load_all(folder, namespace, as_draft=as_draft, by=by):
            told(change)
        transaction.set_rollback(dry_run)


def _load_all(folder: Path, namespace: str, *, as_draft: bool, by: User | None) -> Iterator[Change]:
    yield from _load_partials(folder / PARTIALS)
    for path in sorted(folder.glob("*/template.json")):
        try:
            yield _load_template(path.parent, namespace, as_draft=as_draft, by=by)
        except InvalidTemplate as error:
            error.add_note(f"in {path.parent.name}")
            raise


def write(folder: Path, namespace: str = "") -> list[Path]:
    """Write a namespace's published versions, and every partial, to a folder."""
    files = {f"{PARTIALS}/{_file_of(row)}": row.source for row in Partial.objects.all()}
    versions = TemplateVersion.objects.filter(
        status=Status.PUBLISHED, template__namespace=namespace
    ).select_related("template")
    for version in versions:
        name = version.template.name
        files |= {f"{name}/{path}": text for path, text in _files_of(version).items()}
    written = []
    for name, text in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        written.append(path)
    return written


def _load_partials(folder: Path) -> Iterator[Change]:
    sources = {path.stem: path.read_text() for path in sorted(folder.glob("*.*"))}
    before = dict(Partial.objects.filter(name__in=sources).values_list("name", "source"))
    for name, source in sources.items():
        if before.get(name) != source:
            Partial.objects.update_or_create(name=name, defaults={"source": source})
        old = {name: before[name]} if name in before else {}
        yield _change(f"{PARTIALS}/{name}", old, {name: source}, is_new=name not in before)
    # Checked when all are there, as they may include each other.
    for name, source in sources.items():
        check_partial(name, source, partials_reached_from([source]))


def _load_template(folder: Path, namespace: str, *, as_draft: bool, by: User | None) -> Change:
    files = {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*.*"))
        if path.is_file()
    }
    about = {"category": Category.TRANSACTIONAL.value, **_json(files, "template.json")}
    if "channel" not in about:
        raise InvalidTemplate("template.json must name a channel.")
    files = {**files, **_canonical(files, about)}
    template, is_new = Template.objects.get_or_create(
        name=folder.name, namespace=namespace, defaults={"channel": about["channel"]}
    )
    if template.channel != about["channel"]:
        raise InvalidTemplate(
            f"{template} is for {template.channel}.", hint="Give the new channel's template a name."
        )
    latest = (
        template.versions.first()
        if as_draft
        else template.versions.filter(status=Status.PUBLISHED).first()
    )
    before = _files_of(latest) if latest else {}
    template.category = about["category"]
    template.description = about.get("description", "")
    template.save()
    change = _change(folder.name, before, files, is_new=is_new)
    if change.action == "unchanged" and latest and _built_as_now(latest):
        return change
    version = create_version(
        template,
        variants=_variants(files, template.channel),
        sample_context=_json(files, "sample.json"),
        context_schema=_json(files, "schema.json") or None,
        by=by,
    )
    if not as_draft:
        publish(version, by=by)
    action = "update" if change.action == "unchanged" else change.action
    return Change(change.name, action, change.diff or "  its layout or a partial has changed\n")


def _canonical(files: Files, about: dict[str, Any]) -> Files:
    """Write JSON as we would, so that only its meaning is compared."""
    optional: list[str] = [name for name in ("sample.json", "schema.json") if name in files]
    written = {name: _json_text(_json(files, name)) for name in optional}
    return {"template.json": _json_text(about), **written}


def _built_as_now(version: TemplateVersion) -> bool:
    return build(draft_of(version)).checksum == version.checksum


def _change(name: str, before: Files, after: Files, *, is_new: bool) -> Change:
    if before == after:
        return Change(name, "unchanged", "")
    diff = "".join(
        line if line.endswith("\n") else f"{line}\n"
        for path in sorted({*before, *after})
        for line in unified_diff(
            before.get(path, "").splitlines(keepends=True),
            after.get(path, "").splitlines(keepends=True),
            f"database/{name}/{path}",
            f"folder/{name}/{path}",
        )
    )
    return Change(name, "create" if is_new else "update", diff)


def _files_of(version: TemplateVersion) -> Files:
    template = version.template
    about = {"channel": template.channel, "category": template.category}
    if template.description:
        about["description"] = template.description
    files = {"template.json": _json_text(about)}
    if version.sample_context:
        files["sample.json"] = _json_text(version.sample_context)
    if version.context_schema:
        files["schema.json"] = _json_text(version.context_schema)
    for locale, sources in version.variants.items():
        folder = "" if locale == DEFAULT_LOCALE else f"{locale}/"
        files |= {f"{folder}{part}{_suffix(part)}": source for part, source in sources.items()}
    return files


def _variants(files: Files, channel: str) -> Variants:
    variants: Variants = {}
    for path, text in files.items():
        locale, _, name = path.rpartition("/")
        part = name.partition(".")[0]
        if part in parts_of(channel) and name == part + _suffix(part):
            variants.setdefault(locale or DEFAULT_LOCALE, {})[part] = text
        elif name not in ("template.json", "sample.json", "schema.json"):
            parts = ", ".join(part + _suffix(part) for part in parts_of(channel))
            raise InvalidTemplate(
                f"{path} is not a file of a template.", hint=f"Parts are {parts}."
            )
    return variants


def _suffix(part: str) -> str:
    if part in MARKDOWN_PARTS:
        return ".md"
    return (
        ".html" if part in HTML_PARTS else ".json" if part in JSON_PARTS | BLOCK_PARTS else ".txt"
    )


def _file_of(partial: Partial) -> str:
    return f"{partial.name}{'.html' if '<' in partial.source else '.txt'}"


def _json(files: Files, path: str) -> dict[str, Any]:
    try:
        document = json.loads(files.get(path, "{}"))
    except ValueError as error:
        raise InvalidTemplate(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidTemplate(f"{path} must hold an object.")
    return document


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
