"""What an edge notes about a request becomes the event it should: every attribute from its own place."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

import pytest

from lockwatch.capture import Exchange
from lockwatch.client import Client
from lockwatch.event import HTTP
from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import parse

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = (
    (b"user-agent", b"curl/8"),
    (b"user-agent", b"a second one"),
    (b"x-request-id", b"shop-1"),
    (b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),
    (b"sec-fetch-site", b"cross-site"),
)


def decision(allowed: bool = True, degraded: bool = False, shadow: bool = False, policy: str = "default") -> Decision:
    return Decision(allowed, policy, parse("5/minute")[0], 1, 0.0, 1.0, 1, shadow, degraded, "id", 0.1)


def exchange(client: Client | None = None, **values: Any) -> Exchange:
    known = client or Client(ip_address("203.0.113.7"), "203.0.113.7", "203.0.113.7")
    return Exchange(HTTP, "request", 1_000_000, 1234, known, "GET", "/p/{x}", "/p/1", **{"status": 200, **values})


def test_every_attribute_comes_from_its_own_place() -> None:
    client = Client(ip_address("2001:db8::7"), "2001:db8::/64", "10.0.0.1")
    found = exchange(
        client,
        query=b"q=1",
        headers=HEADERS,
        bytes_sent=12,
        decisions=(decision(), decision(False, policy="strict")),
        request_id="made",
        user="alice",
        session="family",
        tenant="acme",
        error="ValueError",
        refusal="rate_limited",
        details={"a": 1},
    ).event()
    assert asdict(found) == {
        "time_us": 1_000_000,
        "kind": HTTP,
        "action": "request",
        "outcome": "refused",
        "ip": "2001:db8::7",
        "ip_source": "proxy",
        "peer": "10.0.0.1",
        "subject": "2001:db8::/64",
        "method": "GET",
        "route": "/p/{x}",
        "path": "/p/1",
        "query": "q=1",
        "status": 200,
        "latency_us": 1234,
        "bytes_sent": 12,
        "user_agent": "curl/8",
        "request_id": "shop-1",
        "trace_id": TRACE,
        "user": "alice",
        "actor": None,
        "session": "family",
        "target": None,
        "tenant": "acme",
        "decision": "limited",
        "policies": ("strict",),
        "anomaly": False,
        "campaign": None,
        "reasons": ("rate_limited",),
        "details": {"a": 1, "exception": "ValueError", "cross_site": True},
        "count": 1,
        "headers": HEADERS,
    }


@pytest.mark.parametrize(
    ("client", "ip", "source"),
    [
        (Client(ip_address("203.0.113.7"), "203.0.113.7", "203.0.113.7"), "203.0.113.7", "peer"),
        (Client(ip_address("203.0.113.7"), "203.0.113.7", "::ffff:203.0.113.7"), "203.0.113.7", "peer"),
        (Client(ip_address("203.0.113.7"), "203.0.113.7", "10.0.0.1"), "203.0.113.7", "proxy"),
        (Client(ip_address("2001:db8::7"), "2001:db8::/64", "2001:DB8:0::7"), "2001:db8::7", "peer"),
        (Client(ip_address("203.0.113.7"), "203.0.113.7", None), "203.0.113.7", "peer"),
        (Client(None, "unknown", "unix:"), None, "peer"),
    ],
    ids=["peer", "mapped", "proxy", "version 6", "no peer", "no address"],
)
def test_who_told_the_address(client: Client, ip: str | None, source: str) -> None:
    event = exchange(client).event()
    assert (event.ip, event.ip_source) == (ip, source)


@pytest.mark.parametrize(
    ("values", "outcome", "decided"),
    [
        ({}, "success", None),
        ({"decisions": (decision(),)}, "success", "allowed"),
        ({"decisions": (decision(False), decision())}, "refused", "limited"),
        ({"decisions": (decision(False, shadow=True),)}, "success", "allowed"),
        ({"decisions": (decision(degraded=True), decision())}, "success", "degraded"),
        ({"decision": "banned", "status": 403}, "refused", "banned"),
        ({"status": 401}, "refused", None),
        ({"status": 404}, "failure", None),
        ({"status": None}, "failure", None),
        ({"status": 500, "error": "KeyError"}, "error", None),
        ({"status": None, "error": "OSError", "gone": True}, "disconnected", None),
        ({"gone": True}, "disconnected", None),
    ],
)
def test_what_became_of_it(values: dict[str, Any], outcome: str, decided: str | None) -> None:
    event = exchange(**values).event()
    assert (event.outcome, event.decision) == (outcome, decided)
    assert event.status == (
        499 if event.outcome == "disconnected" and values.get("status", 200) is None else values.get("status", 200)
    )
