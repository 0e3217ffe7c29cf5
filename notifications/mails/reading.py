"""Reading what mails have, as providers get it: the fields at once, a file when it is sent."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from django.core.files.storage import storages
from django.db import connection

from notifications.channels.mail import StoredFile
from notifications.core.conf import conf
from notifications.core.errors import TransientError
from notifications.models import Attachment, MailContent

CACHED = 32_000_000  # bytes of files that a process keeps for the next mail

_lock = threading.Lock()
_files: "OrderedDict[tuple[int, str], bytes]" = OrderedDict()


def contents(ids: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """Return the fields of these mails by id, in the names of ``channels.mail.FIELDS``.

    Files are ``StoredFile``, whose contents are read when they are asked for.
    """
    if not ids:
        return {}
    rows = MailContent.objects.filter(pk__in=ids).values_list("pk", "fields")
    return {id_: _with_files(id_, kept) for id_, kept in rows}


def _with_files(id_: int, kept: dict[str, Any]) -> Mapping[str, Any]:
    found = dict(kept)
    if files := kept.get("attachments"):
        found["attachments"] = tuple(_file(id_, file) for file in files)
    if raw := kept.get("raw"):
        found["raw"] = _file(id_, raw)
    return found


def _file(id_: int, described: Mapping[str, Any]) -> StoredFile:
    return StoredFile(**described, read=partial(_read, id_, described["digest"]))


def _read(mail_id: int, digest: str) -> bytes:
    """Return a file's content. Raises ``TransientError``: it is looked for again later.

    A sender's thread has no connection of its own for longer than this.
    """
    key = (mail_id, digest)
    with _lock:
        if key in _files:
            _files.move_to_end(key)
            return _files[key]
        try:
            content = _stored(mail_id, digest)
        except Exception as error:
            failed = TransientError(
                f"An attachment cannot be read ({type(error).__name__}).", code="attachment"
            )
            failed.local = True
            raise failed from error
        finally:
            if threading.current_thread() is not threading.main_thread():
                connection.close()
        _remember(key, content)
    return content


def _stored(mail_id: int, digest: str) -> bytes:
    rows = Attachment.objects.filter(mails=mail_id, digest=digest)
    content, name = rows.values_list("content", "stored_as")[0]
    if content is not None:
        return bytes(content)
    with storages[conf.attachment_storage].open(name) as file:
        return bytes(file.read())


def _remember(key: tuple[int, str], content: bytes) -> None:
    _files[key] = content
    while sum(map(len, _files.values())) > CACHED:
        _files.popitem(last=False)
