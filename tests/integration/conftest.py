"""What all tests with a database have in common."""

from collections.abc import Iterator

import pytest

from templates_engine import isolated
from tests.servers import drafts


class _Lazily:
    """Has the process started by the first test that saves a draft."""

    def __getattr__(self, name: str) -> object:
        return getattr(drafts.drafts(), name)


@pytest.fixture(scope="module", autouse=True)
def _drafts_are_built_by_forks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolated, "subprocess", _Lazily())
        yield
