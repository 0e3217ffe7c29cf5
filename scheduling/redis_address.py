"""One address of a Redis, read once, and written as each library wants it.

kombu, redis-py and throttled-py read the same address differently: a bare ``rediss://`` is
unverified to one and verified to the other, ``redis+socket://`` is known to one only. Here it is
read into its parts; each client is made from those.

    redis://user:password@host:6379/0     valkey:// means the same
    rediss://…                            TLS, verified; valkeys:// means the same
    redis+socket:///path?virtual_host=0   a Unix socket; unix:// with ?db=0 means the same
    sentinel://h1:26379,h2:26379/0?master_name=NAME
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from scheduling import redis_replies

PORT, SENTINEL_PORT = 6379, 26379
SCHEMES = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "redis+socket": "socket",
    "unix": "socket",
    "sentinel": "sentinel",
}
_VERIFICATION = {
    "required": "required",
    "cert_required": "required",
    "optional": "optional",
    "cert_optional": "optional",
    "none": "none",
    "cert_none": "none",
}
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_DATABASE_OPTIONS = ("db", "virtual_host")
_SENTINEL_OPTIONS = ("master_name", "sentinel_username", "sentinel_password")
_OPTIONS = (*_TLS_OPTIONS, "ssl_check_hostname", *_DATABASE_OPTIONS, *_SENTINEL_OPTIONS)


class BadRedisAddress(ValueError):
    """An address that cannot be used. ``str()`` says why, and holds no part of the address."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The parts of an address; ``hosts`` is empty for a socket, and has several for sentinels."""

    kind: str
    """``tcp``, ``tls``, ``socket`` or ``sentinel``."""
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    database: int = 0
    username: str = ""
    password: str = ""
    tls: Mapping[str, Any] = field(default_factory=dict)
    """redis-py's ``ssl_…`` options; empty without TLS."""
    master_name: str = ""
    sentinel_login: Mapping[str, str] = field(default_factory=dict)

    def client(self, **options: Any) -> redis.Redis:
        """Make a redis-py client that fails fast; ``options`` are its own (``socket_timeout``).

        A reply that cannot be read is an error of the connection for it.
        """
        client = self._client(**options)
        pool = client.connection_pool
        pool.connection_class = redis_replies.whole(pool.connection_class)
        return client

    def _client(self, **options: Any) -> redis.Redis:
        login = {"username": self.username or None, "password": self.password or None}
        # One more try renews a connection that the server has closed; redis-py's own three last
        # for seconds, in which a caller would wait for a server that is away.
        renew = Retry(NoBackoff(), 1)
        # RESP3, and to tell of the library, cost a new connection several round trips more.
        quick = {"protocol": 2, "driver_info": None}
        common = {"db": self.database, "retry": renew, **quick, **login, **options}
        if self.kind == "socket":
            return redis.Redis(unix_socket_path=self.path, **common)
        tls: dict[str, Any] = {"ssl": True, **self.tls} if self.tls else {}
        if self.kind == "sentinel":
            waits = {name: options[name] for name in options if name.startswith("socket_")}
            sentinels: Any = Sentinel(
                list(self.hosts), sentinel_kwargs={**self.sentinel_login, **tls, **waits}
            )
            client: redis.Redis = sentinels.master_for(self.master_name, **common, **tls)
            return client
        ((host, port),) = self.hosts
        return redis.Redis(host=host, port=port, **common, **tls)

    def for_kombu(self) -> str:
        """Return the address as kombu and Flower read it."""
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"
        if self.kind == "socket":
            path = quote(self.path, safe="/")
            return f"redis+socket://{login}{path}?virtual_host={self.database}"
        scheme = {"tcp": "redis", "tls": "rediss"}.get(self.kind, self.kind)
        query = f"?{urlencode(self.tls)}" if self.tls else ""
        return ";".join(
            f"{scheme}://{login}{_host(host)}:{port}/{self.database}{query}"
            for host, port in self.hosts
        )

    def transport_options(self) -> dict[str, Any]:
        """Return what kombu wants beside the address."""
        if self.kind != "sentinel":
            return {}
        tls = {"ssl": True, **self.tls} if self.tls else {}
        return {
            "master_name": self.master_name,
            "sentinel_kwargs": {**self.sentinel_login, **tls, "socket_timeout": 1.0},
        }

    def __str__(self) -> str:
        """Say where it is, without user and password."""
        return self.path or ",".join(f"{_host(host)}:{port}" for host, port in self.hosts)


def read(url: str) -> RedisAddress:
    """Read an address. Raises ``BadRedisAddress``, whose text says what to do about it."""
    scheme, _, rest = url.partition("://")
    kind = SCHEMES.get(scheme)
    if kind is None:
        raise BadRedisAddress(f"It must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}.")
    # kombu's own form of several: each with its scheme, and all with the same rest.
    rest = rest.replace(f";{scheme}://", ",")
    parts = urlsplit(f"//{rest}")
    login, _, place = parts.netloc.rpartition("@")
    if "@" in parts.path + parts.query or parts.fragment:
        raise BadRedisAddress(
            "It has a raw / or # or ? in its user or password: write %2F for /, %23 for #, "
            "%3F for ?, %40 for @ and %25 for %."
        )
    username, _, password = login.partition(":")
    options = _options(parts.query)
    tls = _tls(options) if kind == "tls" or _has_tls(options) else {}
    return _checked(
        RedisAddress(
            kind=kind,
            hosts=() if kind == "socket" else _hosts(place, kind),
            path=unquote(place + parts.path) if kind == "socket" else "",
            database=_database(options, "" if kind == "socket" else parts.path),
            username=unquote(username),
            password=unquote(password),
            tls=tls,
            master_name=options.get("master_name", ""),
            sentinel_login={
                name: options[f"sentinel_{name}"]
                for name in ("username", "password")
                if f"sentinel_{name}" in options
            },
        )
    )


def for_kombu(url: str) -> str:
    """Write a broker's address as kombu reads it; one that is no Redis', or bad, stays as it is."""
    try:
        return read(url).for_kombu()
    except BadRedisAddress:
        return url


def _checked(address: RedisAddress) -> RedisAddress:
    if address.kind == "socket" and not address.path.startswith("/"):
        raise BadRedisAddress("It must name the socket's whole path: redis+socket:///run/b.sock.")
    if address.kind == "sentinel" and not address.master_name:
        raise BadRedisAddress("It must name the primary: sentinel://h1,h2/0?master_name=NAME.")
    if address.kind == "tcp" and address.tls:
        raise BadRedisAddress("It has TLS options, but no TLS: write rediss:// for redis://.")
    if address.kind in {"tcp", "tls"} and len(address.hosts) != 1:
        raise BadRedisAddress("It must name one host; several are sentinels: sentinel://h1,h2/0.")
    return address


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query))
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise BadRedisAddress(
            f"It has unknown options: {', '.join(unknown)}. Known are {', '.join(_OPTIONS)}."
        )
    return options


def _has_tls(options: Mapping[str, str]) -> bool:
    return any(name.startswith("ssl_") for name in options)


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    """Return redis-py's options: verified by the system's authorities, unless said otherwise."""
    wanted = options.get("ssl_cert_reqs", "required").lower()
    if wanted not in _VERIFICATION:
        raise BadRedisAddress("Its ssl_cert_reqs must be required, optional or none.")
    tls: dict[str, Any] = {
        **{name: options[name] for name in _TLS_OPTIONS if name in options},
        "ssl_cert_reqs": _VERIFICATION[wanted],
    }
    if "ssl_check_hostname" in options:
        tls["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in {"false", "0"}
    return tls


def _hosts(place: str, kind: str) -> tuple[tuple[str, int], ...]:
    hosts = tuple(_host_and_port(host, kind) for host in place.split(",") if host)
    if not hosts:
        raise BadRedisAddress("It must name a host.")
    return hosts


def _host_and_port(text: str, kind: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise BadRedisAddress("Its port must be a number from 1 to 65535.") from None
    if not parts.hostname or port == 0:
        raise BadRedisAddress("It must name a host, and a port from 1 to 65535 or none.")
    return unquote(parts.hostname), port or (SENTINEL_PORT if kind == "sentinel" else PORT)


def _database(options: Mapping[str, str], path: str) -> int:
    named = {options[name].strip("/") for name in _DATABASE_OPTIONS if name in options}
    if in_path := path.strip("/"):
        named.add(in_path)
    if len(named) > 1 or not all(text.isdecimal() for text in named):
        raise BadRedisAddress("Its database must be a number, named once: redis://host:6379/0.")
    return int(named.pop()) if named else 0


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
