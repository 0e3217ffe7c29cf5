"""What makes two requests the same."""

import json
from hashlib import blake2b

from notifications.submission.fields import Accepted

# Always in the hash, in this order: a field that came later counts only where it is set, so that
# what was accepted before has the same hash.
_ALWAYS = (
    *("channel", "recipient", "priority", "template", "context", "subject", "body", "locale"),
    *("guarantee", "reference", "metadata", "test"),
)
# When and how often to send, and for whom, makes no difference. A mail has a digest of its own.
_NEVER = {
    *("idempotency_key", "retry", "scheduled_at", "expires_at", "callback_url", "project"),
    *("template_version", "mail"),
}
_WHERE_SET = [name for name in Accepted._fields if name not in {*_ALWAYS, *_NEVER}]


def content_hash(accepted: Accepted, use: str = "") -> str:
    """Return a hash that two requests share if they ask for the same thing.

    ``use`` distinguishes one use of an id from another, where there is no idempotency key.
    """
    version = accepted.template_version
    template = version.template_name if version else ""
    content = [template if n == "template" else getattr(accepted, n) for n in _ALWAYS]
    if use and not accepted.idempotency_key:
        content.append(use)
    if accepted.mail is not None:
        content.append(accepted.mail.digest)
    content.extend(
        value if name == "options" else {name: value}
        for name in _WHERE_SET
        if (value := getattr(accepted, name))
    )
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
