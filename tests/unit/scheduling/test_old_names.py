"""What code written for an earlier version imports is there for a while, with a warning."""

import pytest

from scheduling import jobs


@pytest.mark.parametrize("name", ["JobExists", "UnknownJob", "InvalidJob", "InvalidArguments"])
def test_an_exceptions_old_name_is_the_new_one_with_a_warning(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"now scheduling.jobs.{name}"):
        assert getattr(jobs, f"{name}Error") is getattr(jobs, name)


def test_a_name_that_never_was_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        _ = jobs.NothingError
