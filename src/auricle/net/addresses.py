"""Which addresses may be connected to: those of the public internet, and those that the operator allows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from auricle.errors import ForbiddenUrl

HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
"""A host's name, in small letters and without a dot at its end."""
BUCKET_SCHEMES = frozenset({"s3", "gs", "az"})

_CLOSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, which looks public from inside
        "169.254.0.0/16",  # link-local, the metadata of clouds among them
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # measurements
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
"""RFC 6890 and the registry of special addresses at IANA."""
_OPEN_V6 = IPv6Network("2000::/3")
"""All that was ever given out for the public internet."""
_CLOSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, Teredo among them, which carries IPv4 addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries IPv4 addresses
        "3ffe::/16",  # given back
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 reaches it (RFC 6052): the last 32 bits are the address that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowlist:
    """What is allowed beyond the public internet: hosts by name, networks, and buckets as ``s3://name``."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    buckets: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read entries such as ``files.example``, ``*.example``, ``10.0.0.0/8``, ``::1``, ``s3://name``, ``s3://*``.

        Raises ValueError, which names the entry.
        """
        hosts: set[str] = set()
        networks: list[IPv4Network | IPv6Network] = []
        buckets: set[str] = set()
        for entry in entries:
            scheme, is_bucket, name = entry.lower().partition("://")
            if is_bucket and scheme in BUCKET_SCHEMES and name and "/" not in name:
                buckets.add(f"{scheme}://{name}")
            elif network := _network(entry):
                networks.append(network)
            elif HOST_NAME.fullmatch(plain_host(entry).removeprefix("*.")):
                hosts.add(plain_host(entry))
            else:
                raise ValueError(
                    f"{entry!r} is neither a host's name, nor an address, nor a network such as 10.0.0.0/8, nor a "
                    "bucket such as s3://name; hosts are named without http:// and port"
                )
        return cls(hosts=frozenset(hosts), networks=tuple(networks), buckets=frozenset(buckets))

    def allows_host(self, host: str) -> bool:
        """Whether a host may have any address."""
        host = plain_host(host)
        parents = (f"*{host[dot:]}" for dot, character in enumerate(host) if character == ".")
        return host in self.hosts or any(parent in self.hosts for parent in parents)

    def allows_address(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address may be connected to, whoever has it."""
        return any(address in network for network in self.networks)

    def allows_bucket(self, scheme: str, bucket: str) -> bool:
        """Whether objects of a bucket may be read with what the server is allowed to read."""
        return not self.buckets.isdisjoint({f"{scheme}://{bucket.lower()}", f"{scheme}://*"})


def check_address(address: str, host: str, allow: Allowlist) -> None:
    """Raise ForbiddenUrl unless ``host`` may be reached at ``address``."""
    parsed = ip_address(address)
    if is_public(parsed) or allow.allows_host(host) or allow.allows_address(parsed):
        return
    # Where a name of the inside leads to is not told.
    raise forbidden(host, "leads into a private or reserved network")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet, whatever is written inside of it."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def forbidden(host: str, reason: str) -> ForbiddenUrl:
    """The error for a host that must not be reached."""
    return ForbiddenUrl(
        f"The address must not be fetched: {host[:100]} {reason}. Who runs the server can allow it "
        "(AURICLE_URL_ALLOWLIST).",
        param="url",
    )


def plain_host(host: str) -> str:
    """The host in small letters, without the dot that may end it."""
    return host.lower().removesuffix(".")


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip("[]"))
    except ValueError as exc:
        if "host bits" in str(exc):
            raise
        return None
