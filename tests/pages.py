"""The examples of the docs, taken out of their pages to be run as they stand."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"<!-- (\w+): ([\w./]+) -->\n```\w+\n(.*?)```", re.DOTALL)


def examples(page: str, kind: str) -> list[str]:
    """Return the blocks of a page that are marked ``<!-- run: kind -->``."""
    return [code for _, code in marked(page, "run", kind)]


def files(page: str) -> dict[str, str]:
    """Return the blocks of a page that are marked ``<!-- file: path -->``, by path."""
    return dict(marked(page, "file"))


def marked(page: str, mark: str, *only: str) -> list[tuple[str, str]]:
    """Return the marked blocks in the order of the page: what stands in the mark, and the code."""
    found = BLOCK.findall((DOCS / page).read_text())
    return [(what, code) for kind, what, code in found if kind == mark and what in (only or [what])]


FENCE = re.compile(
    r"(?:<!-- run: (\w+) -->\n)?^ *```(console|sh)\n(.*?)^ *```", re.DOTALL | re.MULTILINE
)
TYPED = re.compile(r"^ *[$#] (.+?)(?:\s{2,}#.*)?$", re.MULTILINE)


def commands(page: Path) -> list[tuple[str, str]]:
    """Return the commands of a page in its order: the mark of their block, or "", and each line.

    Of a block for a shell its first line stands for it.
    """
    return [
        (mark, line.strip())
        for mark, language, code in FENCE.findall(page.read_text())
        for line in (TYPED.findall(code) if language == "console" else code.splitlines()[:1])
    ]
