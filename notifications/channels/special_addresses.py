"""Addresses that are not the public internet: IANA's special-purpose registries, as data.

Sources, read in 2026: https://www.iana.org/assignments/iana-ipv4-special-registry (all blocks that
are not globally reachable, and those whose reachability is N/A),
https://www.iana.org/assignments/iana-ipv6-special-registry, and
https://www.iana.org/assignments/ipv6-address-space: unicast is 2000::/3 and nothing else.
Python's own ``is_global`` differs from release to release, and knows nothing of the last two lines.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private use (RFC 1918)
        "100.64.0.0/10",  # shared address space (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "169.254.0.0/16",  # link local (RFC 3927); metadata of most clouds
        "172.16.0.0/12",  # private use (RFC 1918)
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # deprecated 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private use (RFC 1918)
        "198.18.0.0/15",  # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved (RFC 1112), limited broadcast (RFC 8190)
        "168.63.129.16/32",  # Azure's own services, on a public address
    )
)

UNICAST = IPv6Network("2000::/3")
IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments (RFC 2928), Teredo among them
        "2001:db8::/32",  # documentation (RFC 3849)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""What is refused of 2000::/3; what is outside it is refused anyway."""

# IPv6 addresses that lead to the IPv4 address in their last 32 bits, or where noted.
_CARRIERS = (
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped (RFC 4291)
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
)
_6TO4 = IPv6Network("2002::/16")  # RFC 3056: in the bits 16 to 48


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet, also one inside an IPv6 address.

    Raises ``ValueError`` for what is no IP address.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        carried = _carried(ip)
        if carried is None:
            return ip in UNICAST and not any(ip in block for block in IPV6)
        ip = carried
    return not any(ip in block for block in IPV4)


def _carried(ip: IPv6Address) -> IPv4Address | None:
    if any(ip in block for block in _CARRIERS):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _6TO4:
        return IPv4Address(int(ip) >> 80 & 0xFFFFFFFF)
    return None
