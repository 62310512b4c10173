"""Who sent a request: what proxies write, whom one trusts, and that nobody can write himself another address."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockwatch import ConfigurationError
from lockwatch.client import Clients, Trust, read_address, subject_of, trust

XFF = b"x-forwarded-for"
FORWARDED = b"forwarded"
Header = tuple[bytes, bytes]


def xff(*lines: str | bytes) -> list[Header]:
    return [(XFF, line.encode("latin-1") if isinstance(line, str) else line) for line in lines]


def forwarded(*lines: str) -> list[Header]:
    return [(FORWARDED, line.encode("latin-1")) for line in lines]


def resolved(trusted: Any, peer: str | None, headers: Sequence[Header], header: str = "x-forwarded-for", prefix: int = 64) -> str:
    return Clients(trust(trusted), header, prefix).resolve(peer, headers).subject


# ---------------------------------------------------------- reading addresses
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("\t192.0.2.1", "192.0.2.1"),
        ('"192.0.2.1"', "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("192.0.2.1:65535", "192.0.2.1"),
        ('"192.0.2.1:4711"', "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:443", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("::1", "::1"),
        ("::", "::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("64:ff9b::198.51.100.1", "64:ff9b::198.51.100.1"),
        ("64:ff9b::8.8.8.8", "8.8.8.8"),
        ("[64:ff9b::808:808]:443", "8.8.8.8"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
        ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
        ("64:ff9b:0:0:1::808:808", "64:ff9b:0:0:1::808:808"),
    ],
)
def test_an_address_is_read_as_proxies_write_it(text: str, expected: str) -> None:
    assert read_address(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "testclient",
        "example.com:80",
        "192.0.2",
        "192.0.2.1.1",
        "192.0.2.256",
        "192.0.2.01",
        "0x7f.0.0.1",
        "2130706433",
        "192.0.2.1:",
        "192.0.2.1:http",
        "192.0.2.1:123456",
        "192.0.2.1%eth0",
        "192.0.2.1/24",
        "192.0.2.1, 192.0.2.2",
        "[2001:db8::1]x",
        "[2001:db8::1]:",
        "[]:80",
        "[]",
        "2001:db8::1::2",
        ":80",
        "%eth0",
        "192.0.2.1\x00",
        "\uff11\uff19\uff12.0.2.1",
        "\u0661.2.3.4",
        "'192.0.2.1'",
        "a" * 100_000,
        "1." * 50_000,
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert read_address(text) is None


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_is_read_back_with_and_without_a_port(address: Any, port: int) -> None:
    plain = read_address(str(address))
    assert plain == address or (plain is not None and plain.version == 4 and int(plain) == int(address) & 0xFFFF_FFFF)
    assert read_address(f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}") == plain


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_reading_an_address_never_raises(text: str) -> None:
    address = read_address(text)
    assert address is None or read_address(str(address)) == address


# --------------------------------------------------------------------- trust
@pytest.mark.parametrize("value", ["none", "", 0, "0", [], (), ["none"]])
def test_nobody_is_trusted(value: Any) -> None:
    assert not trust(value)
    assert trust(value) == Trust()


@pytest.mark.parametrize(("value", "hops"), [(1, 1), (2, 2), ("3", 3), (" 2 ", 2), (40, 40)])
def test_a_number_is_a_number_of_hops(value: Any, hops: int) -> None:
    assert trust(value) == Trust(hops=hops)
    assert trust(value)


@pytest.mark.parametrize(
    ("value", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
        (["10.0.0.0/8"], "10.1.2.3", "192.168.0.1"),
        (("10.0.0.0/8", "192.168.7.0/24"), "192.168.7.9", "192.168.8.9"),
        ("10.0.0.0/8, 192.168.7.0/24", "192.168.7.9", "192.168.8.9"),
        ("10.0.0.0/8 192.168.7.0/24", "192.168.7.9", "192.168.8.9"),
        (["192.0.2.7"], "192.0.2.7", "192.0.2.8"),
        (["2001:db8::/32"], "2001:db8:1::1", "2001:db9::1"),
        (["203.0.113.0/24", "private"], "10.0.0.1", "198.51.100.1"),
        (["203.0.113.0/24", "private"], "203.0.113.7", "198.51.100.1"),
    ],
)
def test_networks_are_trusted(value: Any, inside: str, outside: str) -> None:
    assert trust(value).holds(ip_address(inside), 0)
    assert not trust(value).holds(ip_address(outside), 0)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"],
)
def test_private_peers_are_hops_when_asked_for(address: str) -> None:
    assert trust("private").holds(ip_address(address), 5)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "192.169.0.1", "100.64.0.1", "2001:db8::1", "0.0.0.0", "203.0.113.1"])
def test_public_peers_are_no_private_hops(address: str) -> None:
    assert not trust("private").holds(ip_address(address), 0)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        41,
        "41",
        True,
        None,
        1.5,
        object(),
        "everyone",
        "*",
        "privat",
        ["none", "10.0.0.0/8"],
        "10.0.0.1/8",
        ["10.0.0.0/33"],
        ["proxy.internal"],
        [7],
        [""],
        [None],
        b"10.0.0.0/8",
        "\u00b2",
    ],
)
def test_a_trust_that_cannot_be_is_refused_and_says_which_setting(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        trust(value)


# --------------------------------------------------------- whom headers name
@pytest.mark.parametrize(
    ("trusted", "peer", "lines", "subject"),
    [
        # by default nobody is believed
        ("none", "203.0.113.9", ["198.51.100.1"], "ip:203.0.113.9"),
        ("none", "10.0.0.1", ["198.51.100.1"], "ip:10.0.0.1"),
        ("none", "203.0.113.9", [], "ip:203.0.113.9"),
        # one trusted proxy
        ("private", "10.0.0.1", ["198.51.100.1"], "ip:198.51.100.1"),
        ("private", "127.0.0.1", ["198.51.100.1"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["198.51.100.1:5123"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["[2001:db8::1]:5123"], "ip:2001:db8::/64"),
        ("private", "10.0.0.1", ["fe80::1%eth0"], "ip:fe80::/64"),
        ("private", "10.0.0.1", ["::ffff:198.51.100.1"], "ip:198.51.100.1"),
        ("private", "::ffff:10.0.0.1", ["198.51.100.1"], "ip:198.51.100.1"),
        ("private", "::1", ["198.51.100.1"], "ip:198.51.100.1"),
        ("private", "203.0.113.9", ["198.51.100.1"], "ip:203.0.113.9"),
        (["203.0.113.9"], "203.0.113.9", ["198.51.100.1"], "ip:198.51.100.1"),
        # a chain is walked from the right, as far as it is trusted
        ("private", "10.0.0.1", ["6.6.6.6, 198.51.100.1"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["6.6.6.6, 198.51.100.1,10.0.0.2 ,  10.0.0.3"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["10.0.0.9, 198.51.100.1"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "ip:10.0.0.3"),
        # repeated lines are one list, in their order
        ("private", "10.0.0.1", ["6.6.6.6", "198.51.100.1"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["6.6.6.6, 198.51.100.1", "10.0.0.2"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["198.51.100.1", "10.0.0.3", "10.0.0.2"], "ip:198.51.100.1"),
        # a number of hops counts them, whoever they are
        (1, "203.0.113.9", ["6.6.6.6, 198.51.100.1"], "ip:198.51.100.1"),
        (2, "203.0.113.9", ["6.6.6.6, 198.51.100.1"], "ip:6.6.6.6"),
        (2, "203.0.113.9", ["6.6.6.6, 198.51.100.1, 203.0.113.8"], "ip:198.51.100.1"),
        (3, "203.0.113.9", ["198.51.100.1"], "ip:198.51.100.1"),
        (1, "203.0.113.9", [], "ip:203.0.113.9"),
        # without a peer (a unix socket) hops still count
        (1, None, ["6.6.6.6, 198.51.100.1"], "ip:198.51.100.1"),
        (2, None, ["6.6.6.6, 198.51.100.1"], "ip:6.6.6.6"),
        (1, "", ["198.51.100.1"], "ip:198.51.100.1"),
        (1, None, [], "ip:unknown"),
        (1, None, ["unknown"], "ip:unknown"),
        ("private", None, ["198.51.100.1"], "ip:unknown"),
        # what a trusted hop cannot name ends the walk at that hop
        ("private", "10.0.0.1", ["198.51.100.1, garbage"], "ip:10.0.0.1"),
        ("private", "10.0.0.1", ["198.51.100.1, garbage, 10.0.0.2"], "ip:10.0.0.2"),
        ("private", "10.0.0.1", ["garbage, 198.51.100.1"], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ["198.51.100.1, unknown"], "ip:10.0.0.1"),
        ("private", "10.0.0.1", ["198.51.100.1,"], "ip:10.0.0.1"),
        ("private", "10.0.0.1", [""], "ip:10.0.0.1"),
        ("private", "10.0.0.1", [" , ,"], "ip:10.0.0.1"),
        (2, "203.0.113.9", ["198.51.100.1, nonsense"], "ip:203.0.113.9"),
        # quotes mean nothing here
        ("private", "10.0.0.1", ['"6.6.6.6, 198.51.100.1'], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ['"6.6.6.6", 198.51.100.1'], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ['6.6.6.6", "198.51.100.1'], "ip:198.51.100.1"),
        ("private", "10.0.0.1", ['", 198.51.100.1, 10.0.0.2'], "ip:198.51.100.1"),
    ],
)
def test_the_client_is_who_the_last_trusted_hop_saw(trusted: Any, peer: str | None, lines: list[str], subject: str) -> None:
    assert resolved(trusted, peer, xff(*lines)) == subject


@pytest.mark.parametrize("line", [b"\xff\xfe", b"\x00", b"caf\xc3\xa9", b"\xe4, \xf6", b"198.51.100.1, \xff"])
def test_bytes_that_are_no_text_end_the_walk(line: bytes) -> None:
    assert resolved("private", "10.0.0.1", xff(line)) == "ip:10.0.0.1"


@pytest.mark.parametrize("hops", [39, 40, 41, 100, 5000])
@pytest.mark.parametrize("apart", [False, True])
def test_a_long_chain_is_read_from_its_end(hops: int, apart: bool) -> None:
    chain = ["6.6.6.6"] * hops + ["198.51.100.1", "10.0.0.2"]
    assert resolved("private", "10.0.0.1", xff(*(chain if apart else [", ".join(chain)]))) == "ip:198.51.100.1"


@pytest.mark.parametrize("hops", [41, 100, 5000])
def test_the_walk_ends_after_forty_hops_whoever_they_claim_to_be(hops: int) -> None:
    chain = ["6.6.6.6"] + [f"10.0.{i // 256}.{i % 256}" for i in range(hops)]
    nearest_forty = chain[-40]
    assert resolved("private", "10.0.0.1", xff(", ".join(chain))) == f"ip:{nearest_forty}"


@pytest.mark.parametrize("trusted", ["none", "private", ["10.0.0.0/8"], 0])
def test_a_client_cannot_write_itself_another_address(trusted: Any) -> None:
    for line in ("6.6.6.6", "127.0.0.1", "10.0.0.1", "6.6.6.6, 10.0.0.1", "203.0.113.9", "::1"):
        assert resolved(trusted, "203.0.113.9", xff(line)) == "ip:203.0.113.9"
        for header in (b"forwarded", b"x-real-ip", b"cf-connecting-ip", b"true-client-ip", b"x-client-ip"):
            assert resolved(trusted, "203.0.113.9", [(header, line.encode())]) == "ip:203.0.113.9"


# ------------------------------------------------------- Forwarded (RFC 7239)
@pytest.mark.parametrize(
    ("lines", "subject"),
    [
        (["for=198.51.100.1"], "ip:198.51.100.1"),
        (["For=198.51.100.1"], "ip:198.51.100.1"),
        (["FOR = 198.51.100.1"], "ip:198.51.100.1"),
        (['for="198.51.100.1"'], "ip:198.51.100.1"),
        (['for="198.51.100.1:4711"'], "ip:198.51.100.1"),
        (['for="[2001:db8:cafe::17]:4711"'], "ip:2001:db8:cafe::/64"),
        (['for="[2001:db8:cafe::17]"'], "ip:2001:db8:cafe::/64"),
        (["for=198.51.100.1;proto=http;by=203.0.113.43"], "ip:198.51.100.1"),
        (["proto=http; by=203.0.113.43; for=198.51.100.1"], "ip:198.51.100.1"),
        (["by=203.0.113.43;for=198.51.100.1;host=example.com"], "ip:198.51.100.1"),
        (["for=6.6.6.6, for=198.51.100.1"], "ip:198.51.100.1"),
        (["for=6.6.6.6,for=198.51.100.1;by=10.0.0.2,for=10.0.0.2"], "ip:198.51.100.1"),
        (["for=6.6.6.6", "for=198.51.100.1"], "ip:198.51.100.1"),
        (['for=6.6.6.6, for=198.51.100.1;host="a,b;c"'], "ip:198.51.100.1"),
        (['for=6.6.6.6, host="a,b";for=198.51.100.1'], "ip:198.51.100.1"),
        (["for=6.6.6.6, for=unknown"], "ip:10.0.0.1"),
        (["for=6.6.6.6, for=_hidden"], "ip:10.0.0.1"),
        (['for=6.6.6.6, for="_SEVKISEK"'], "ip:10.0.0.1"),
        (["for=6.6.6.6, for=unknown, for=10.0.0.2"], "ip:10.0.0.2"),
        (["for=6.6.6.6, proto=https"], "ip:10.0.0.1"),
        (["for=6.6.6.6, before=198.51.100.1"], "ip:10.0.0.1"),
        (["for=6.6.6.6,"], "ip:10.0.0.1"),
        (["198.51.100.1"], "ip:10.0.0.1"),
        (["for="], "ip:10.0.0.1"),
        (["for"], "ip:10.0.0.1"),
        ([""], "ip:10.0.0.1"),
        (['for="198.51.100.1'], "ip:10.0.0.1"),
    ],
)
def test_forwarded_names_the_client(lines: list[str], subject: str) -> None:
    assert resolved("private", "10.0.0.1", forwarded(*lines), "forwarded") == subject


@pytest.mark.parametrize(
    "written",
    [
        'for="',
        'for=6.6.6.6;x="',
        '"',
        'for=6.6.6.6;x="\\',
        'for="6.6.6.6", x="',
        'for=6.6.6.6;host="a;b',
        "for=6.6.6.6;",
    ],
)
def test_a_quote_left_open_by_the_client_does_not_swallow_what_the_proxy_appends(written: str) -> None:
    assert resolved("private", "10.0.0.1", forwarded(f"{written}, for=198.51.100.1"), "forwarded") == "ip:198.51.100.1"


@pytest.mark.parametrize(
    "element",
    [
        'host="a;for=6.6.6.6";for=198.51.100.1',
        'host="for=6.6.6.6";for=198.51.100.1',
        'host="a;for=6.6.6.6;b";proto=http;for="198.51.100.1"',
        'for=198.51.100.1;host="a;for=6.6.6.6"',
    ],
)
def test_what_stands_in_a_quoted_value_is_no_parameter(element: str) -> None:
    assert resolved("private", "10.0.0.1", forwarded(element), "forwarded") == "ip:198.51.100.1"


def test_only_the_chosen_header_is_read() -> None:
    both = [*xff("198.51.100.1"), *forwarded("for=198.51.100.2"), (b"x-real-ip", b"198.51.100.3")]
    assert resolved("private", "10.0.0.1", both) == "ip:198.51.100.1"
    assert resolved("private", "10.0.0.1", both, "forwarded") == "ip:198.51.100.2"
    assert resolved("private", "10.0.0.1", both[1:]) == "ip:10.0.0.1"
    assert resolved("private", "10.0.0.1", both[:1], "forwarded") == "ip:10.0.0.1"


# ------------------------------------------------------------------ subjects
@pytest.mark.parametrize(
    ("address", "prefix", "subject"),
    [
        ("192.0.2.1", 64, "192.0.2.1"),
        ("192.0.2.1", 32, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", 64, "2001:db8:1:3::/64"),
        ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::/56"),
        ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::/48"),
        ("2001:db8:1:2:3:4:5:6", 32, "2001:db8::/32"),
        ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6/128"),
        ("::1", 64, "::/64"),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(address: str, prefix: int, subject: str) -> None:
    assert subject_of(ip_address(address), prefix) == subject
    assert resolved("none", address, [], prefix=prefix) == f"ip:{subject}"


def test_two_ways_to_write_an_address_are_one_client() -> None:
    clients = Clients(trust("none"))
    assert {clients.resolve(p, []).subject for p in ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201")} == {"ip:192.0.2.1"}


def test_ipv4_clients_behind_a_translator_are_not_one_client() -> None:
    clients = Clients(trust("private"))
    assert clients.resolve("64:ff9b::8.8.8.8", []).subject == "ip:8.8.8.8"
    assert clients.resolve("64:ff9b::9.9.9.9", []).subject == "ip:9.9.9.9"
    assert clients.resolve("64:ff9b::10.0.0.1", xff("8.8.8.8")).subject == "ip:64:ff9b::/64"


def test_a_client_says_who_connected() -> None:
    client = Clients(trust("private")).resolve("10.0.0.1", xff("198.51.100.1"))
    assert (str(client.address), client.peer, client.warning) == ("198.51.100.1", "10.0.0.1", None)


# ------------------------------------------------------------------ warnings
@pytest.mark.parametrize("peer", [None, "", "testclient", "/run/app.sock"])
def test_a_request_without_an_address_is_unknown_and_warned_of_once(peer: str | None) -> None:
    clients = Clients(trust("none"))
    found = [clients.resolve(peer, []) for _ in range(5)]
    assert {(c.address, c.subject) for c in found} == {(None, "ip:unknown")}
    warnings = [c.warning for c in found if c.warning]
    assert len(warnings) == 1
    assert "trusted_proxies=1" in warnings[0]
    assert found[0].warning


def test_peers_a_server_took_from_a_header_are_warned_of_once_and_not_remembered_at_length() -> None:
    clients = Clients(trust("none"))
    made_up = [*(f"{i}" + "x" * 50_000 for i in range(20)), *(f"fe80::{i}%" + "y" * 50_000 for i in range(1, 20))]
    assert len([c for c in (clients.resolve(peer, xff("192.0.2.1")) for peer in made_up) if c.warning]) == 1
    assert sum(len(str(held)) for held in vars(clients).values()) < 10_000


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip"])
@pytest.mark.parametrize(
    ("peer", "setting"), [("10.0.0.7", "10.0.0.7/32"), ("fd00::7", "fd00::7/128"), ("127.0.0.1", "127.0.0.1/32")]
)
def test_an_unknown_private_proxy_is_warned_of_once_with_the_setting_to_make(header: bytes, peer: str, setting: str) -> None:
    clients = Clients(trust("none"))
    before = clients.resolve(peer, [])
    found = [clients.resolve(peer, [(header, b"198.51.100.1")]) for _ in range(3)]
    warnings = [c.warning for c in (before, *found) if c.warning]
    assert len(warnings) == 1
    assert f"trusted_proxies=['{setting}']" in warnings[0]
    assert found[0].warning
    assert {c.subject for c in found} == {before.subject}
    assert not trust([setting]).hops
    assert Clients(trust([setting])).resolve(peer, xff("198.51.100.1")).subject == "ip:198.51.100.1"


def test_an_unknown_proxy_beside_a_trusted_one_is_warned_of() -> None:
    clients = Clients(trust(["10.0.0.1"]))
    assert clients.resolve("10.0.0.1", xff("198.51.100.1")).warning is None
    warning = clients.resolve("192.168.0.1", xff("198.51.100.1")).warning
    assert warning is not None
    assert "192.168.0.1/32" in warning


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", "100.64.0.1"])
def test_headers_of_a_public_peer_are_its_own_business(peer: str) -> None:
    clients = Clients(trust("none"))
    found = [clients.resolve(peer, [*xff("198.51.100.1"), *forwarded("for=1.2.3.4")]) for _ in range(3)]
    assert [c.warning for c in found] == [None] * 3


def test_a_private_peer_without_forwarded_headers_is_not_warned_of() -> None:
    clients = Clients(trust("none"))
    assert all(clients.resolve("10.0.0.7", [(b"host", b"a"), (b"via", b"b")]).warning is None for _ in range(300))


def test_a_trusted_proxy_is_not_warned_of() -> None:
    for trusted in ("private", ["10.0.0.0/8"], 1):
        assert Clients(trust(trusted)).resolve("10.0.0.7", xff("198.51.100.1")).warning is None


# -------------------------------------------------------------------- bounds
def test_peers_are_remembered_within_bounds() -> None:
    clients = Clients(trust("none"))
    for i in range(30_000):
        address = f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"
        assert clients.resolve(address, []).subject == f"ip:{address}"
    held = [len(value) for value in vars(clients).values() if isinstance(value, dict)]
    assert held
    assert max(held) <= 8192


def test_clients_behind_a_proxy_are_not_remembered() -> None:
    clients = Clients(trust("private"))
    for i in range(20_000):
        clients.resolve("10.0.0.1", xff(f"198.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"))
    held = [len(value) for value in vars(clients).values() if isinstance(value, dict)]
    assert max(held) <= 100


# ---------------------------------------------------------------- properties
NAMES = st.sampled_from([XFF, FORWARDED, b"x-real-ip", b"host", b"", b"x-forwarded-for "])
PIECES = st.sampled_from(
    [b"for=", b'"', b",", b";", b" ", b"6.6.6.6", b"10.0.0.1", b"127.0.0.1", b"[::1]", b":80", b"\\", b"unknown", b"host="]
)
VALUES = st.one_of(st.binary(max_size=30), st.lists(PIECES, max_size=8).map(b"".join))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
CHOSEN = st.sampled_from(["x-forwarded-for", "forwarded"])
ANY_TRUST = st.sampled_from(["none", "private", ["10.0.0.0/8"], 1, 2, 3])
PEERS = st.one_of(st.none(), st.text(max_size=10), st.ip_addresses().map(str), st.sampled_from(["10.0.0.1", "::1", "127.0.0.1"]))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["none", ["10.0.0.0/8"], "private"]), HEADERS, CHOSEN)
def test_whatever_an_untrusted_client_writes_it_stays_the_same_client(trusted: Any, headers: list[Header], header: str) -> None:
    clients = Clients(trust(trusted), header)
    assert clients.resolve("203.0.113.9", headers) == clients.resolve("203.0.113.9", [])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["private", 1, ["10.0.0.1"]]), st.lists(VALUES, max_size=3), CHOSEN, st.booleans())
@example("private", [b'for=6.6.6.6;x="'], "forwarded", False)
@example("private", [b'"6.6.6.6'], "x-forwarded-for", False)
def test_whatever_a_client_writes_the_proxy_behind_it_names_it(
    trusted: Any, written: list[bytes], header: str, apart: bool
) -> None:
    appended = b"for=198.51.100.1" if header == "forwarded" else b"198.51.100.1"
    lines = [*written, appended] if apart else [b", ".join([*written, appended])]
    headers = [(header.encode(), line) for line in lines]
    assert Clients(trust(trusted), header).resolve("10.0.0.1", headers).subject == "ip:198.51.100.1"


@settings(max_examples=300, deadline=None)
@given(ANY_TRUST, st.lists(st.tuples(PEERS, HEADERS), max_size=4), CHOSEN)
def test_resolving_never_raises(trusted: Any, requests: list[tuple[str | None, list[Header]]], header: str) -> None:
    clients = Clients(trust(trusted), header)
    for peer, headers in requests:
        client = clients.resolve(peer, headers)
        assert client.subject.startswith("ip:")
        assert (client.subject == "ip:unknown") == (client.address is None)


@pytest.mark.parametrize(
    "written",
    [
        b'"' * 60_000,
        b'"\\' * 30_000,
        b'"a' * 30_000,
        b"," * 60_000,
        b"for=" * 15_000,
        b";for" * 15_000,
        b"for=a;    " * 40 + b"!",
        b"for=    ;" * 40 + b"!",
        b'for="a"  ;  ' * 40 + b"!",
        b"for  =  a;" * 40 + b"!",
        b"for=a;   " * 6_000 + b"!",
        b" " * 60_000 + b"!",
        b"a=b," * 15_000 + b"!",
    ],
    ids=lambda written: written[:10].decode(),
)
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.timeout(10)
def test_an_absurd_header_is_read_at_once(written: bytes, header: str) -> None:
    clients = Clients(trust(["10.0.0.0/8"]), header)
    for _ in range(20):
        assert clients.resolve("10.0.0.1", [(header.encode(), written)]).subject == "ip:10.0.0.1"
        beside = written + (b", for=198.51.100.1" if header == "forwarded" else b", 198.51.100.1")
        assert clients.resolve("10.0.0.1", [(header.encode(), beside)]).subject == "ip:198.51.100.1"
