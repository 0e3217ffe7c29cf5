"""DATABASE_URL, read into Django's settings."""

import pytest
from environs import EnvError

from notifications.core.environment import read_database_url


def test_several_hosts_are_for_libpq_which_finds_the_primary() -> None:
    read = read_database_url("postgres://me:p%40ss@h1:5433,h2,[::1]:5434/name?sslmode=require")
    assert (read["HOST"], read["PORT"]) == ("h1,h2,::1", "5433,5432,5434")
    assert (read["USER"], read["PASSWORD"], read["NAME"]) == ("me", "p@ss", "name")
    assert read["OPTIONS"]["target_session_attrs"] == "read-write"
    assert read["OPTIONS"]["sslmode"] == "require"


def test_the_address_may_ask_for_another_session() -> None:
    read = read_database_url("postgres://h1,h2/name?target_session_attrs=any")
    assert read["OPTIONS"]["target_session_attrs"] == "any"


def test_statements_are_not_compiled_unless_the_address_says_so() -> None:
    assert "-c jit=off" in read_database_url("postgres://h1/name")["OPTIONS"]["options"]
    own = read_database_url("postgres://h1/name?options=-c%20jit%3Don")
    assert own["OPTIONS"]["options"] == "-c jit=on"


def test_one_host_is_taken_as_it_is() -> None:
    read = read_database_url("postgres://h1/name")
    assert (read["HOST"], read["PORT"]) == ("h1", "")
    assert "target_session_attrs" not in read["OPTIONS"]


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(EnvError, match="h1:5432,h2:5432"):
        read_database_url("postgres://h1:5432,h2:port/name")
