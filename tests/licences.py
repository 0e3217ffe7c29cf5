"""``python -m tests.licences``: whether each locked package has a licence that we take.

Read from what is installed, so a new release that changes its licence is noticed with the lock.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
PERMISSIVE = {
    *("0BSD", "Apache", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"),
    *("PSF-2.0", "Python Software Foundation", "Unlicense", "ZPL-2.1"),
}
# Used unchanged as libraries, which their licences allow beside any other. One by one, on purpose.
WEAK_COPYLEFT = {
    "certifi": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "psycopg-pool": "LGPL-3.0-only",
    "py-vapid": "MPL-2.0",
    "python-crontab": "LGPLv3",
    "pywebpush": "MPL-2.0",
}


def locked() -> list[str]:
    """Return the names of the locked packages."""
    return re.findall(r"^([A-Za-z0-9_.-]+)==", LOCK.read_text(), re.MULTILINE)


def licence_of(package: str) -> str:
    """Return the licence that a package declares, its classifiers where it has no expression."""
    declared = metadata.metadata(package)
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in declared.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    first = (declared.get("License") or "").partition("\n")[0]
    return declared.get("License-Expression") or " AND ".join(classifiers) or first


def is_permissive(licence: str) -> bool:
    """Tell whether one alternative of a licence consists of permissive ones alone."""
    return any(
        all(_plain(part) in PERMISSIVE for part in alternative.split(" AND "))
        for alternative in licence.split(" OR ")
    )


def _plain(name: str) -> str:
    return re.sub(r"( Software)? License( \(\w+\))?$", "", name.strip())


def problems() -> list[str]:
    """Return a line for each installed package whose licence is not on a list."""
    found = []
    for package in sorted(set(locked())):
        try:
            licence = licence_of(package)
        except metadata.PackageNotFoundError:
            continue  # of another system or Python
        weak = WEAK_COPYLEFT.get(package)
        if not (is_permissive(licence) or (weak and weak in licence.replace("MPL 2.0", "MPL-2.0"))):
            found.append(f"{package}: {licence or 'no licence is declared'}")
    return found


if __name__ == "__main__":
    wrong = problems()
    print(*wrong, f"{len(wrong)} licences that are not on the list", sep="\n")
    sys.exit(bool(wrong))
