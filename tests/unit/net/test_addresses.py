"""Which addresses are public, and what the allow-list lets through."""

import re
from ipaddress import ip_address

import pytest

from auricle.errors import ForbiddenUrl
from auricle.net.addresses import Allowlist, check_address, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:830::200e",
    "64:ff9b::8.8.8.8",
]
PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))
    check_address(address, "files.example", Allowlist())


@pytest.mark.parametrize("address", PRIVATE)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(ForbiddenUrl, match="leads into a private"):
        check_address(address, "files.example", Allowlist())


def test_the_error_does_not_tell_where_a_name_of_the_inside_leads_to() -> None:
    with pytest.raises(ForbiddenUrl) as caught:
        check_address("10.1.2.3", "db.corp", Allowlist())
    assert "10.1.2.3" not in caught.value.message
    assert "AURICLE_URL_ALLOWLIST" in caught.value.message


def test_a_network_of_the_list_is_let_through_whoever_has_the_address() -> None:
    allow = Allowlist.parse(["10.0.0.0/8", "fd00::/8"])
    check_address("10.1.2.3", "files.corp", allow)
    check_address("fd12::1", "files.corp", allow)
    with pytest.raises(ForbiddenUrl):
        check_address("192.168.0.1", "files.corp", allow)


def test_a_host_of_the_list_may_have_any_address() -> None:
    allow = Allowlist.parse(["files.corp"])
    check_address("10.1.2.3", "files.corp", allow)
    check_address("10.1.2.3", "FILES.corp.", allow)
    for other in ("evilfiles.corp", "files.corp.evil", "sub.files.corp"):
        with pytest.raises(ForbiddenUrl):
            check_address("10.1.2.3", other, allow)


def test_a_star_stands_for_what_is_below_a_domain_only() -> None:
    allow = Allowlist.parse(["*.corp"])
    assert allow.allows_host("a.corp")
    assert allow.allows_host("a.b.corp")
    assert not allow.allows_host("corp")
    assert not allow.allows_host("evilcorp")
    assert not allow.allows_host("a.corp.evil")


def test_the_address_that_carries_another_is_not_let_through_by_that_one() -> None:
    allow = Allowlist.parse(["127.0.0.1"])
    check_address("127.0.0.1", "x", allow)
    for disguised in ("::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"):
        with pytest.raises(ForbiddenUrl):
            check_address(disguised, "x", allow)


def test_buckets_are_allowed_by_name_and_by_scheme() -> None:
    allow = Allowlist.parse(["s3://calls", "gs://*"])
    assert allow.allows_bucket("s3", "calls")
    assert not allow.allows_bucket("s3", "salaries")
    assert not allow.allows_bucket("az", "calls")
    assert allow.allows_bucket("gs", "anything")


@pytest.mark.parametrize(
    "entry", ["http://files.corp", "files.corp:9000", "10.1.2.3/8", "a b", "", "*", "s3://", "s3://a/b"]
)
def test_an_entry_that_means_nothing_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match=re.escape(entry or "''")):
        Allowlist.parse([entry])
