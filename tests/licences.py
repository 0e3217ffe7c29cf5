"""``python -m tests.licences``: whether each locked package has a licence that we take.

Read from what is installed, so a new release that changes its licence is noticed with the lock.
"""

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
PERMISSIVE = {
    *("0BSD", "Apache", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"),
    *("PSF-2.0", "Python Software Foundation", "Unlicense", "ZPL-2.1"),
}
# What else packages declare, word for word, that are taken all the same. One by one, on purpose.
NAMED = {
    # Weak copyleft: used unchanged as libraries, which is allowed beside any other licence.
    "certifi": "Mozilla Public License 2.0 (MPL 2.0)",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "psycopg-pool": "LGPL-3.0-only",
    "py-vapid": "MPL-2.0",
    "python-crontab": "LGPLv3",
    "pywebpush": "MPL-2.0",
    # BSD, with the public suffix list of Mozilla in it.
    "fido2": "BSD License AND Apache Software License AND Mozilla Public License 2.0 (MPL 2.0)",
    # The zlib licence, which has no classifier of its own.
    "dkimpy": "DFSG approved",
    # BSD, in the words of Google's template.
    "protobuf": "3-Clause BSD License",
    # BSD; the other is a remark on the trademark of the name "QR Code".
    "qrcode": "BSD License AND Other/Proprietary License",
}


def locked() -> list[str]:
    """Return the names of the locked packages."""
    return re.findall(r"^([A-Za-z0-9_.-]+)==", LOCK.read_text(), re.MULTILINE)


def licence_of(package: str) -> str:
    """Return the licence that a package declares, its classifiers where it has no expression."""
    declared: Any = metadata.metadata(package)
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in declared.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    first = (declared.get("License") or "").partition("\n")[0]
    return str(declared.get("License-Expression") or " AND ".join(classifiers) or first)


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
        if not is_permissive(licence) and licence != NAMED.get(package):
            found.append(f"{package}: {licence or 'no licence is declared'}")
    return found


if __name__ == "__main__":
    wrong = problems()
    print(*wrong, f"{len(wrong)} licences that are not on the list", sep="\n")
    sys.exit(bool(wrong))
