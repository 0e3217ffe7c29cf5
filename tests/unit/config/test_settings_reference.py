"""docs/settings.md and .env.example list each setting that is read, and no other."""

import re
from collections import Counter
from pathlib import Path

from notifications.core.environment import RENAMED

ROOT = Path(__file__).resolve().parents[3]
NAME = r"[A-Z][A-Z_]{3,}"
# Of programs that are not ours, and of the command line.
ELSEWHERE = {
    *("GRANIAN_HOST", "GRANIAN_PORT", "FLOWER_ADDRESS", "FLOWER_PORT", "FLOWER_BASIC_AUTH"),
    *("PORT", "SMTP_PORT", "STORAGES", "NAME_FILE", "SIGTERM"),
    *("INFO", "WARNING", "ERROR", "CRITICAL"),
}


def read_by_the_code() -> set[str]:
    files = [*(ROOT / "config").glob("*.py"), ROOT / "notifications" / "settings.py"]
    sources = "\n".join(path.read_text() for path in files)
    return set(re.findall(rf'[eE]nv(?:\(\))?\.\w+\(\s*"({NAME})"', sources)) - ELSEWHERE


def documented() -> set[str]:
    page = (ROOT / "docs" / "settings.md").read_text()
    return set(re.findall(rf"`({NAME})[`:]", page)) - ELSEWHERE


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    assert documented() == read_by_the_code() | set(RENAMED)


def test_every_setting_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    names = re.findall(rf"(?m)^(?:# )?({NAME})=", example)
    named = set(names)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    # Addresses of servers that compose starts itself.
    composed = {"DATABASE_URL", "BROKER_URL"}
    of_other_services = {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    assert named - of_other_services - ELSEWHERE == read_by_the_code() - composed
