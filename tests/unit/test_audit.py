"""The audit of the locked packages fails for a known weakness, and passes where nobody can say."""

import json
import sys

import pytest

from tests import audit

SOUND = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def printing(text: str) -> list[str]:
    return [sys.executable, "-c", f"print({text!r})"]


@pytest.mark.parametrize(
    ("found", "sound", "said"),
    [
        ([SOUND, UNKNOWN], True, "1 of 2 packages were audited; 0 weaknesses."),
        ([SOUND, WEAK], False, "b 2: CVE-1, mended in 3"),
        ([UNKNOWN], True, "was not audited: this registry lists no weaknesses"),
    ],
)
def test_a_known_weakness_fails(found: list[object], sound: object, said: str) -> None:
    is_sound, lines = audit.audit(printing(json.dumps({"dependencies": found})))
    assert is_sound is sound
    assert said in "\n".join(lines)


@pytest.mark.parametrize(
    "command",
    [
        printing("No connection"),
        ["/nowhere"],
        [sys.executable, "-c", "import time; time.sleep(60)"],
    ],
    ids=["refused", "no tool", "silent"],
)
def test_no_answer_is_said_and_passes(command: list[str]) -> None:
    sound, lines = audit.audit(command, seconds=1)
    assert sound
    assert "was not audited" in lines[0]
