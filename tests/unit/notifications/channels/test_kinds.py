"""A kind whose library is not installed says how to install it."""

import sys

import pytest

from notifications.channels import kinds
from notifications.core import extras


@pytest.fixture(autouse=True)
def _forget() -> None:
    kinds.provider_class.cache_clear()


@pytest.mark.parametrize("kind", sorted(kinds.EXTRAS))
def test_a_kind_without_its_library_names_the_extra(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = kinds.KINDS[kind].rpartition(".")[0]
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    problems = kinds.problems(kind, "sms", {}, {})
    assert extras.command(kinds.EXTRAS[kind]) in problems["kind"][0]
    kinds.provider_class.cache_clear()
