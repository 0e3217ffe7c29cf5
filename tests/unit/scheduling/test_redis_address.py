"""One address of a Redis means the same to every library that reads it."""

import pytest
from kombu.connection import Connection

from scheduling.redis_address import BadRedisAddress, RedisAddress, read


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisAddress("tcp", (("h", 6379),))),
        ("valkey://h:1/2", RedisAddress("tcp", (("h", 1),), database=2)),
        ("rediss://h", RedisAddress("tls", (("h", 6379),), tls={"ssl_cert_reqs": "required"})),
        (
            "valkeys://h?ssl_cert_reqs=CERT_NONE",
            RedisAddress("tls", (("h", 6379),), tls={"ssl_cert_reqs": "none"}),
        ),
        (
            "rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/a/b.pem",
            RedisAddress(
                "tls",
                (("h", 6379),),
                tls={"ssl_ca_certs": "/a/b.pem", "ssl_cert_reqs": "none"},
            ),
        ),
        (
            "redis+socket:///run/b.sock?virtual_host=1",
            RedisAddress("socket", path="/run/b.sock", database=1),
        ),
        ("unix:///run/b.sock?db=1", RedisAddress("socket", path="/run/b.sock", database=1)),
        (
            "redis://me:p%2F%23%40%25@[::1]:7/3",
            RedisAddress("tcp", (("::1", 7),), database=3, username="me", password="p/#@%"),
        ),
        (
            "sentinel://:pw@a:1,b/4?master_name=m&sentinel_password=s",
            RedisAddress(
                "sentinel",
                (("a", 1), ("b", 26379)),
                database=4,
                password="pw",
                master_name="m",
                sentinel_login={"password": "s"},
            ),
        ),
        (
            "sentinel://a:1;sentinel://b:2/4?master_name=m",
            RedisAddress("sentinel", (("a", 1), ("b", 2)), database=4, master_name="m"),
        ),
    ],
)
def test_an_address_is_read_into_its_parts(url: str, expected: RedisAddress) -> None:
    assert read(url) == expected


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://:pass/word@h:6379/0", "%2F"),
        ("redis://:pass#word@h:6379/0", "%23"),
        ("redis://:pass?word@h:6379/0", "%3F"),
        ("redis://h:port/0", "port"),
        ("redis://", "host"),
        ("redis://a,b/0", "sentinel://"),
        ("redis://h/name", "number"),
        ("redis://h/0?db=1", "once"),
        ("redis://h?ssl_cert_reqs=none", "rediss://"),
        ("rediss://h?ssl_cert_reqs=maybe", "none"),
        ("redis://h?socket_timeot=1", "socket_timeot"),
        ("sentinel://a,b/0", "master_name"),
        ("redis+socket://b.sock", "path"),
        ("http://h", "redis://"),
    ],
)
def test_a_bad_address_is_explained_and_not_shown(url: str, hint: str) -> None:
    with pytest.raises(BadRedisAddress, match=hint) as refused:
        read(url)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:p%2F%23%40%25@h:7/3",
        "valkeys://h/1",
        "rediss://h/1?ssl_cert_reqs=CERT_NONE",
        "redis+socket://:p%2Fw@/run/b.sock?virtual_host=1",
        "unix:///run/b.sock?db=1",
        "sentinel://:pw@a:1,b/4?master_name=m",
    ],
)
def test_kombu_and_redis_py_connect_alike(url: str) -> None:
    address = read(url)
    connection = Connection(address.for_kombu(), transport_options=address.transport_options())
    channel = connection.transport.Channel.__new__(connection.transport.Channel)
    channel.connection = connection.transport
    theirs = channel._connparams()
    pool = address.client().connection_pool
    ours = pool.connection_kwargs
    for name in ("username", "password", "db", "path"):
        assert (theirs.get(name) or None) == (ours.get(name) or None), name
    if address.kind in {"tcp", "tls"}:
        assert (theirs["host"], theirs["port"]) == (ours["host"], ours["port"])
    if address.kind == "tls":
        assert theirs["connection_class"].__name__ == "SSLConnection"
        assert read_mode(theirs["ssl_cert_reqs"]) == address.tls["ssl_cert_reqs"]
        assert ours["ssl_cert_reqs"] == address.tls["ssl_cert_reqs"]


def read_mode(mode: object) -> str:
    return str(getattr(mode, "name", mode)).removeprefix("CERT_").lower()
