"""Which licences are taken: a permissive alternative, or one that is named for its package."""

import pytest

from tests import licences


@pytest.mark.parametrize(
    ("licence", "is_taken"),
    [
        ("MIT License", True),
        ("Apache Software License", True),
        ("ISC License (ISCL)", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("LGPL-2.1-only OR MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("GNU Affero General Public License v3", False),
        ("", False),
    ],
)
def test_a_licence_is_taken_if_one_alternative_is_permissive(licence: str, is_taken: bool) -> None:
    assert licences.is_permissive(licence) is is_taken


def test_every_locked_package_has_a_licence_that_is_taken() -> None:
    assert licences.problems() == []


def test_no_licence_is_named_for_a_package_that_is_not_locked() -> None:
    assert set(licences.NAMED) <= set(licences.locked())
