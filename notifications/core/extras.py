"""How to install what only some need: the package is not on PyPI."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGE = "notifications"
_ROOT = Path(__file__).parents[2]


def command(extra: str) -> str:
    """Return the command that installs an extra from where this package came from.

    That is the checkout which this is, or the folder or wheel that pip noted (PEP 610).
    """
    if (_ROOT / "pyproject.toml").exists():
        return f'pip install "{_ROOT}[{extra}]"'
    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        return f'pip install ".[{extra}]", in a checkout'
    origin = json.loads(installed.read_text("direct_url.json") or "{}").get("url")
    if origin:
        return f'pip install "{PACKAGE}[{extra}] @ {origin}"'
    return f'pip install "{PACKAGE}-{installed.version}-py3-none-any.whl[{extra}]", the wheel'
