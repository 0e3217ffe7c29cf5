"""The secrets by which the webhooks and callbacks of projects are signed: each has its own."""

import hmac
from base64 import b64encode
from hashlib import sha256


def root(key: str) -> str:
    """Return what the secrets of all projects are derived from, by a ``SECRET_KEY``."""
    return sha256(f"webhooks of projects {key}".encode()).hexdigest()


def of_project(root: str, project: str) -> str:
    """Return a project's secret, like ``whsec_…``."""
    return "whsec_" + b64encode(hmac.digest(root.encode(), project.encode(), sha256)).decode()
