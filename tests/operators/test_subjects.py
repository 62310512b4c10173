"""Subjects as people write them, and requests no LockWatch has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import pytest
from starlette.requests import Request

from lockwatch.client import Clients, trust
from lockwatch.keys import by_api_key, by_claim, by_ip, by_json, by_user
from lockwatch.passerby import visit_to
from lockwatch.subjects import is_counted_by, named, shown


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("ip:203.0.113.7", "ip:203.0.113.7"),
        ("ip:2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("ip:2001:db8:1:2::/64", "ip:2001:db8:1:2::/64"),
        ("ip:::ffff:203.0.113.7", "ip:203.0.113.7"),
        ("ip:unknown", "ip:unknown"),
        ("user:alice", "user:alice"),
        ("user:a:b", "user:a:b"),
        ("key:s3cret", "key:s3cret"),
        ("custom:alice", "custom:alice"),
        ("alice", "custom:alice"),
        ("order:7", "custom:order:7"),
        ("owner:7", "owner:7"),
        ("claim:plan:pro", "claim:plan:pro"),
        ("json:email:A@Example.com ", "json:email:a@example.com"),
    ],
)
def test_a_text_names_a_subject(text: str, subject: str) -> None:
    assert named(text) == subject
    assert named(subject) == subject


def test_an_address_is_counted_by_the_configured_prefix() -> None:
    assert named("ip:2001:db8:1:2::5", ipv6_prefix=56) == "ip:2001:db8:1::/56"


def test_nobody_is_no_subject() -> None:
    with pytest.raises(ValueError, match="whom should be counted"):
        named("")


@pytest.mark.parametrize(
    ("key", "counted"),
    [
        (by_ip, {"ip"}),
        (by_user, {"ip", "user"}),
        (by_api_key, {"ip", "key"}),
        (by_api_key(verify=lambda key: key), {"ip", "key", "owner"}),
        (by_claim("plan"), {"ip", "claim:plan"}),
        (by_json("email"), {"ip", "json:email"}),
        (lambda request: "x", {"ip", "custom"}),
    ],
)
def test_a_key_function_counts_some_kinds_and_all_count_the_address(key: Any, counted: set[str]) -> None:
    kinds = {"ip", "user", "key", "owner", "claim:plan", "claim:role", "json:email", "json:name", "form:email", "custom"}
    assert {kind for kind in kinds if is_counted_by(key, f"{kind}:x")} == counted


def test_an_api_key_is_not_shown() -> None:
    assert shown("key:s3cret") == "key:(hidden)"
    assert shown("user:alice") == "user:alice"


def starlette(headers: dict[str, str], peer: str = "203.0.113.7", user: str | None = None) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "client": (peer, 1), "state": {"user_id": user} if user else {}})


def werkzeug(headers: dict[str, str], peer: str = "203.0.113.7", user: str | None = None) -> flask.Request:
    app = flask.Flask(__name__)
    with app.test_request_context("/", headers=headers, environ_base={"REMOTE_ADDR": peer}):
        if user:
            flask.g.user_id = user
        request: flask.Request = flask.request._get_current_object()  # type: ignore[attr-defined]
        visit = visit_to(request, Clients(trust("none")), print)
        assert visit.user == user
        return request


BOTH = pytest.mark.parametrize("make", [starlette, werkzeug])


@BOTH
def test_a_passer_by_is_counted_like_a_visitor(make: Callable[..., Any]) -> None:
    visit = visit_to(make({"X-API-Key": "s3cret"}), Clients(trust("none")), print)
    assert by_ip(visit) == by_user(visit) == "ip:203.0.113.7"
    assert by_api_key(visit) == "key:s3cret"
    assert visit.claims is None


@BOTH
def test_forwarded_headers_count_from_trusted_proxies_only(make: Callable[..., Any]) -> None:
    warnings: list[str] = []
    request = make({"X-Forwarded-For": "198.51.100.9"}, peer="10.0.0.1")
    assert visit_to(request, Clients(trust("10.0.0.0/8")), warnings.append).client.subject == "ip:198.51.100.9"
    assert not warnings
    assert visit_to(request, Clients(trust("none")), warnings.append).client.subject == "ip:10.0.0.1"
    assert "trusted_proxies" in warnings[0]


def test_the_user_is_the_one_the_application_sets() -> None:
    visit = visit_to(starlette({}, user="alice"), Clients(trust("none")), print)
    assert by_user(visit) == "user:alice"
    assert werkzeug({}, user="alice") is not None


def test_something_that_is_no_request_is_refused() -> None:
    with pytest.raises(TypeError, match="a request of Starlette, FastAPI or Flask was expected, not dict"):
        visit_to({}, Clients(trust("none")), print)
