"""The mask for free text that may name a person."""

import pytest

from scheduling.masking import without_addresses


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("It has no name or no domain around an @.", "It has no name or no domain around an @."),
        ("It has no domain after an @ sign.", "It has no domain after an @ sign."),
        ("To ada@example.org, by @ada or ada@", "To … by … or …"),
        ("Call +43 660 1234567", "Call …"),
    ],
)
def test_what_may_be_a_persons_is_left_out(text: str, masked: str) -> None:
    assert without_addresses(text) == masked
