"""Where a webhook may go."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch import ConfigurationError
from lockwatch.alerts.ssrf import checked, read_target

PUBLIC = read_target("webhook_urls", "https://hooks.example.com/x")
INSIDE = read_target("webhook_urls", "https://hooks.example.com/x", private=True)
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "1234::1",
]
PRIVATE = ["10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "172.16.0.1", "192.168.1.1", "::1", "fd12:3456::1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.1.2.3"]
GLOBAL = ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_reached(address: str) -> None:
    for target in (PUBLIC, INSIDE):
        reason, found = checked(target, [address])
        assert found == ()
        assert "its name leads to" in reason


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_permission(address: str) -> None:
    assert checked(PUBLIC, [address])[1] == ()
    assert checked(INSIDE, [address])[0] == ""


@pytest.mark.parametrize("address", GLOBAL)
def test_public_addresses_are_reached(address: str) -> None:
    assert checked(PUBLIC, [address]) == ("", (str(ip_address(address)),))


@pytest.mark.parametrize("address", [*NEVER, *PRIVATE, "no address"])
def test_one_bad_address_among_good_ones_refuses_all(address: str) -> None:
    assert checked(PUBLIC, ["8.8.8.8", address, "1.1.1.1"])[1] == ()


def test_a_name_that_leads_nowhere_is_refused() -> None:
    assert checked(PUBLIC, []) == ("its name leads nowhere", ())


def test_private_http_does_not_reach_public_addresses() -> None:
    plain = read_target("webhook_urls", "http://collector.internal:9000/x", private=True)
    assert checked(plain, ["10.0.0.1"]) == ("", ("10.0.0.1",))
    assert "only https" in checked(plain, ["8.8.8.8"])[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/x",
        "http://hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://user:hunter2@hooks.example.com/",
        "https://hooks.example.com@169.254.169.254/",
        "https://@hooks.example.com/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:6379/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:x/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.com\\@evil.example/",
        "https://hooks.example.com/\r\nX-Evil: 1",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/é",
        "https://" + "a" * 64 + ".example/",
        "https://[::1",
        "https://hooks.example.com/" + "x" * 2048,
        None,
        b"https://hooks.example.com/",
    ],
)
def test_urls_that_are_refused_and_not_quoted(url: object) -> None:
    with pytest.raises(ConfigurationError, match=r"webhook_urls: a URL .*https://hooks\.example\.com/lockwatch") as caught:
        read_target("webhook_urls", url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://[fe80::1]/", "http://8.8.8.8/", "ftp://10.0.0.1/"])
def test_what_is_refused_even_with_permission(url: str) -> None:
    with pytest.raises(ConfigurationError):
        read_target("webhook_urls", url, private=True)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://Hooks.Example.com/a/b?c=d#e", "hooks.example.com", "/a/b?c=d"),
        ("https://hooks.example.com:8443", "hooks.example.com:8443", "/"),
        ("https://bücher.example/", "xn--bcher-kva.example", "/"),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "/"),
        ("https://hooks.example.com:443/", "hooks.example.com", "/"),
    ],
)
def test_what_a_url_says_is_kept(url: str, authority: str, path: str) -> None:
    target = read_target("webhook_urls", url)
    assert (target.authority, target.path) == (authority, path)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_outside_the_global_range_is_reached(address: object) -> None:
    text = str(address)
    reason, found = checked(PUBLIC, [text])
    if found:
        assert text.startswith(("2", "3", "64:ff9b::", "::ffff:"))
    assert bool(reason) != bool(found)
