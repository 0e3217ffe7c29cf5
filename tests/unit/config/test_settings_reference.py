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


def each(names: str, default: str) -> dict[str, str]:
    """Return the default of each of several names, which one line gives together."""
    found = re.findall(rf"({NAME})\b", names)
    values = default.split(", ")
    return dict(
        zip(found, values if len(values) == len(found) else [default] * len(found), strict=True)
    )


def in_settings_page() -> dict[str, str]:
    """Return the default of each setting of a table of settings.md, as the page writes it."""
    page = (ROOT / "docs" / "settings.md").read_text()
    found = {}
    for names, default in re.findall(r"(?m)^\| (`[A-Z][^|]*) \| ([^|]*) \|", page):
        found.update(each(names, default.replace("`", "").strip()))
    return found


def in_example() -> dict[str, str]:
    """Return the default of each setting of which a comment of the example states it."""
    example = (ROOT / ".env.example").read_text()
    found = {}
    for comment, names in re.findall(r"(?m)((?:^# .*\n)+?)((?:^# [A-Z_]{4,}=\n)+)", example):
        if said := re.search(r"\(default: ([^)]*)\)", comment.replace("\n# ", " ")):
            found.update(each(names, said.group(1)))
    return found


def test_the_defaults_that_the_example_states_are_those_of_the_settings() -> None:
    documented = in_settings_page()
    stated = in_example()
    assert {"NOTIFICATIONS_QUEUE_WINDOW", "SCHEDULING_ALLOWED_TASKS"} <= stated.keys()
    wrong = {
        name: (value, documented[name])
        for name, value in stated.items()
        # An explanation after the value, or further ones of a long list, may be worded otherwise.
        if not documented[name].startswith(re.split(r"[;:…]|, (?=[a-z.…])", value)[0])
        or ("notifications." in value and value != documented[name])
    }
    assert wrong == {}
