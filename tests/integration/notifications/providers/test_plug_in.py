"""A provider of another package, as docs/adding-a-provider.md says: nothing of ours is touched."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from notifications.channels import kinds
from notifications.submission import send

SOURCE = '''
from notifications.channels.http import HttpProvider, accepted, classify


class PigeonProvider(HttpProvider):
    """Sends a pigeon."""

    kind = "pigeon"
    channels = ("chat",)
    setting_names = {"loft": "Where the pigeons start."}
    secret_names = {"ring": "The number on the ring."}

    def send(self, message):
        answer = self.request(
            message,
            "POST",
            self.account.settings["loft"],
            json={"to": message.recipient, "text": message.content["text"]},
            headers={"X-Ring": self.account.secrets["ring"]},
        )
        classify(answer)
        return accepted(answer, "flight")
'''


@pytest.fixture
def pigeons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package, as pip would leave it."""
    (tmp_path / "pigeons.py").write_text(SOURCE)
    metadata = tmp_path / "pigeons-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[notifications.providers]\npigeon = pigeons:PigeonProvider\nbroken = pigeons:accepted\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kinds.provider_class.cache_clear()
    yield
    kinds.provider_class.cache_clear()


def test_a_provider_from_outside_sends(
    pigeons: None,
    account: Callable[..., Any],
    deliver: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    transactional_db: None,
) -> None:
    monkeypatch.setenv("SECRET_RING", "AT-7")
    httpserver.expect_request("/loft", headers={"X-Ring": "AT-7"}).respond_with_json(
        {"flight": "9"}
    )
    row = account(
        "pigeon-post",
        "pigeon",
        "chat",
        settings={"loft": httpserver.url_for("/loft")},
        secrets={"ring": "env:SECRET_RING"},
    )
    row.full_clean()
    [sent] = deliver(send(channel="chat", recipient="Ada", body="Coo"))
    assert (sent.status, sent.provider) == ("sent", "pigeon-post")
    assert sent.attempts.get().provider_message_id == "9"
    assert httpserver.log[0][0].json == {"to": "Ada", "text": "Coo"}


def test_it_is_named_among_the_kinds(pigeons: None) -> None:
    assert {"pigeon", "smtp"} <= set(kinds.names())


def test_an_entry_point_that_is_no_provider_is_refused_by_name(pigeons: None) -> None:
    with pytest.raises(kinds.UnknownKind, match="no Provider"):
        kinds.provider_class("broken")
