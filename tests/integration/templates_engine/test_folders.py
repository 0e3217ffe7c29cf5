import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from notifications.models import Project
from templates_engine import catalog
from templates_engine.models import Partial, Status, Template, TemplateVersion

pytestmark = pytest.mark.django_db
EXAMPLES = Path("templates_engine/examples")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "otp/template.json": '{"channel": "sms", "description": "a code"}',
        "otp/sample.json": '{"code": "1", "shop": "S"}',
        "otp/text.txt": "Code {{ code }}\n{% include 'foot' %}\n",
        "otp/de/text.txt": "Code: {{ code }}\n",
        "partials/foot.txt": "from {{ shop }}\n",
    }
    for name, text in files.items():
        path = tmp_path / "given" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "given"


def sync(folder: Path, *options: str) -> str:
    out = StringIO()
    call_command("sync_templates", str(folder), *options, stdout=out)
    catalog.clear()
    return out.getvalue()


def test_a_folder_is_loaded_and_published(folder: Path) -> None:
    assert sync(folder).split() == ["create", "partials/foot", "create", "otp"]
    otp = catalog.published("otp")
    assert otp.render({"code": 7, "shop": "X"}) == {"text": "Code 7\nfrom X"}
    assert otp.render({"code": 7, "shop": "X"}, "de") == {"text": "Code: 7"}
    assert Template.objects.get().description == "a code"


def test_a_folder_is_a_projects_own_where_that_is_named(folder: Path, tmp_path: Path) -> None:
    for name in ("shop", "default"):
        with pytest.raises(CommandError, match="no project"):
            sync(folder, "--namespace", name)
    Project.objects.bulk_create([Project(name="shop"), Project(name="bank")])
    sync(folder, "--namespace", "shop")
    assert [*Template.objects.values_list("name", "namespace")] == [("otp", "shop")]
    assert sync(folder, "--namespace", "shop").split()[-2:] == ["unchanged", "otp"]
    # It is another project's no more than that of the default.
    for name, there in (("", []), ("bank", []), ("shop", ["otp"])):
        written = tmp_path / f"written-{name}"
        sync(written, "--write", "--namespace", name)
        assert [path.parent.name for path in written.glob("*/template.json")] == there


def test_each_template_is_told_of_as_it_is_loaded_and_all_or_none_are_kept(folder: Path) -> None:
    (folder / "zzz").mkdir()
    (folder / "zzz/template.json").write_text("{}")
    out = StringIO()
    with pytest.raises(CommandError, match=r"(?s)in zzz.*\nNothing was changed"):
        call_command("sync_templates", str(folder), stdout=out)
    assert out.getvalue().split() == ["create", "partials/foot", "create", "otp"]
    assert not Template.objects.exists()


def test_loading_again_changes_nothing(folder: Path) -> None:
    sync(folder)
    assert sync(folder).split() == ["unchanged", "partials/foot", "unchanged", "otp"]
    assert TemplateVersion.objects.count() == 1


def test_a_dry_run_shows_the_difference_and_changes_nothing(folder: Path) -> None:
    sync(folder)
    (folder / "otp/text.txt").write_text("Your code {{ code }}\n")
    told = sync(folder, "--dry-run")
    assert "-Code {{ code }}" in told
    assert "+Your code {{ code }}" in told
    assert TemplateVersion.objects.count() == 1


def test_a_changed_partial_makes_a_new_version_of_what_uses_it(folder: Path) -> None:
    sync(folder)
    (folder / "partials/foot.txt").write_text("by {{ shop }}\n")
    assert "a partial has changed" in sync(folder)
    assert catalog.published("otp").render({"code": 7, "shop": "X"}) == {"text": "Code 7\nby X"}
    old = TemplateVersion.objects.get(status=Status.ARCHIVED)
    assert catalog.version(old.pk).render({"code": 7, "shop": "X"}) == {"text": "Code 7\nfrom X"}


def test_a_folder_that_was_written_loads_as_unchanged(folder: Path, tmp_path: Path) -> None:
    sync(folder)
    sync(tmp_path / "written", "--write")
    assert "create" not in sync(tmp_path / "written")
    assert TemplateVersion.objects.count() == 1
    for path in ("otp/text.txt", "otp/de/text.txt", "partials/foot.txt"):
        assert (tmp_path / "written" / path).read_text() == (folder / path).read_text()
    about = json.loads((tmp_path / "written/otp/template.json").read_text())
    assert about["channel"] == "sms"


def test_one_broken_template_leaves_the_database_as_it_was(folder: Path) -> None:
    (folder / "otp/de/text.txt").write_text("ok\n{{ x y }}\n")
    with pytest.raises(CommandError, match=r"(?s)text \(de\), line 2, column 6.*in otp"):
        sync(folder)
    assert not Template.objects.exists()
    assert not Partial.objects.exists()


def test_a_file_with_an_unknown_name_is_refused(folder: Path) -> None:
    (folder / "otp/txt.text").write_text("x")
    with pytest.raises(CommandError, match="is not a file of a template"):
        sync(folder)


def test_drafts_can_be_loaded_for_review(folder: Path) -> None:
    sync(folder, "--draft")
    assert TemplateVersion.objects.get().status == Status.DRAFT
    assert "unchanged otp" in " ".join(sync(folder, "--draft").split())


def test_the_examples_load_and_render_in_each_locale() -> None:
    sync(EXAMPLES)
    names = {"otp-sms", "otp-push", "payment-receipt", "weekly-summary"}
    assert set(Template.objects.values_list("name", flat=True)) == names
    for version in TemplateVersion.objects.all():
        for locale in version.variants:
            content = catalog.version(version.pk).render(version.sample_context, locale)
            assert "{{" not in str(content)
    receipt = TemplateVersion.objects.get(template__name="payment-receipt")
    german = catalog.published("payment-receipt").render(receipt.sample_context, "de")
    assert "47,00\xa0€" in str(german["text"])
    assert "The Analytical Engine: Notes &amp; Sketches" in str(german["html"])
    assert "https://shop.example/orders/2026-00417" in str(german["text"])
