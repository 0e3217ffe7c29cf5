"""Each line of the design document's list names tests that there are."""

import re

from tests.pages import DOCS, ROOT

LISTED = "## The design document's list"


def test_each_line_of_the_list_has_its_test() -> None:
    part = (DOCS / "scheduling.md").read_text().partition(LISTED)[2].partition("\n## ")[0]
    rows = [row for row in part.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 25
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", path.read_text())
    }
    for row in rows:
        files = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert all((ROOT / file).exists() for file in files), row
        named = [name for name in re.findall(r"`(test_\w+)`", row) if not name.endswith("_py")]
        assert named or files, row
        assert set(named) <= defined, row
