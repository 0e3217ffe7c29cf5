"""Asks whether a known weakness is in what requirements.lock names.

``make check`` runs it. It fails if there is one. Where the package registry has no such list, or
does not answer within 20 seconds, it says so and passes: a check works without a network.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = "requirements.lock"
SECONDS = 20


def audit(command: list[str], seconds: float = SECONDS) -> tuple[bool, list[str]]:
    """Run pip-audit, and return whether what it looked at is sound, and what to say."""
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds
        )
        found = json.loads(asked.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return True, [f"{LOCK} was not audited: no answer within {seconds:.0f} s."]
    except (OSError, ValueError, KeyError):
        return True, [f"{LOCK} was not audited: the registry cannot be asked from here."]
    weak = [line for package in found for line in _weaknesses(package)]
    unknown = sum("vulns" not in package for package in found)
    if unknown == len(found):
        return True, [f"{LOCK} was not audited: this registry lists no weaknesses."]
    audited = f"{len(found) - unknown} of {len(found)} packages were audited"
    return not weak, [*weak, f"{LOCK}: {audited}; {len(weak)} weaknesses."]


def _weaknesses(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in "
        f"{', '.join(weakness['fix_versions']) or 'no version yet'}"
        for weakness in package.get("vulns", [])
    ]


def main() -> int:
    """Audit the lock, say what was found, and return the status of the process."""
    tool = Path(sys.executable).with_name("pip-audit")
    options = ("--disable-pip", "--no-deps", "--timeout", "5", "--progress-spinner", "off")
    sound, said = audit([str(tool), *options, "-f", "json", "-r", LOCK])
    print("\n".join(said))
    return not sound


if __name__ == "__main__":
    sys.exit(main())
