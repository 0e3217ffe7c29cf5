"""What SpamAssassin says of the built-in layout and of the examples, where it is installed."""

import json
import re
import shutil
import subprocess
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import templates_engine
from templates_engine.layouts import built_in
from templates_engine.starters import SAMPLE, starter
from tests.unit.templates_engine.content import version

EXAMPLES = Path(templates_engine.__path__[0]) / "examples"
HIGHEST_SCORE = 0.1
# They judge the way that a mail took, and this one took none.
OF_THE_WAY = {"NO_RELAYS", "NO_RECEIVED", "ALL_TRUSTED", "URIBL_BLOCKED"}
_RULE = re.compile(r"^\s*(-?\d+\.\d+) ([A-Z][A-Z0-9_]+) ", re.MULTILINE)


def contents() -> dict[str, dict[str, Any]]:
    """Return the rendered content of each built-in template for mail, by name."""
    partials = built_in() | {p.stem: p.read_text() for p in (EXAMPLES / "partials").glob("*.html")}
    made = {"starter": version("email", partials=partials, **starter("email")).render(SAMPLE)}
    for folder in sorted(path.parent for path in EXAMPLES.glob("*/html.html")):
        parts = {path.stem: path.read_text() for path in folder.glob("*.html")}
        parts |= {path.stem: path.read_text() for path in folder.glob("*.txt")}
        sample = json.loads((folder / "sample.json").read_text())
        made[folder.name] = version("email", partials=partials, **parts).render(sample)
    return made


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("spamassassin"), reason="needs Debian's spamassassin")
def test_no_rule_of_a_spam_filter_scores_on_a_built_in_template(tmp_path: Path) -> None:
    mails = []
    for name, content in contents().items():
        mail = EmailMessage()
        mail["From"] = "Shop <shop@example.org>"
        mail["To"] = "Ada <ada@example.org>"
        mail["Subject"] = str(content["subject"])
        mail["Date"] = "Wed, 25 Nov 2026 12:00:00 +0000"
        mail["Message-ID"] = f"<{name}@example.org>"
        mail.set_content(str(content["text"]))
        mail.add_alternative(str(content["html"]), subtype="html")
        mails.append(tmp_path / name)
        mails[-1].write_bytes(mail.as_bytes())
    found: dict[str, dict[str, float]] = {}
    for path in mails:
        report = subprocess.run(
            ["spamassassin", "--local", "--test-mode", "-x", str(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        assert "Content analysis details" in report
        rules = {rule: float(score) for score, rule in _RULE.findall(report)}
        found[path.name] = {
            rule: score
            for rule, score in rules.items()
            if score > HIGHEST_SCORE and rule not in OF_THE_WAY
        }
    assert found == {path.name: {} for path in mails}
