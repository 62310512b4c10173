"""Assertions hold where they should, fail where they should, and say what was sent and what came back."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Body, Depends, FastAPI

from lockwatch import JWTAuth, LockWatch
from lockwatch.testing import (
    assert_limited,
    assert_limited_async,
    assert_not_limited,
    assert_not_limited_async,
    assert_requires_token,
    assert_requires_token_async,
    clock,
    isolated,
    reset,
)
from tests.testing.shops import SECRET, Shop, fastapi_shop, waiting_client


def test_a_limit_is_exactly_that(shop: Shop) -> None:
    refused = assert_limited(shop.client, "GET", "/search", after=5, per="minute")
    assert refused.status_code == 429
    for wrong in (4, 6):
        reset(shop.app)
        with pytest.raises(AssertionError, match="is let in, 4 should be" if wrong == 4 else "request 6 of 6 is limited already"):
            assert_limited(shop.client, "GET", "/search", after=wrong)


def test_a_window_that_is_longer_than_said_is_told(plain: Shop) -> None:
    with pytest.raises(AssertionError, match="asks to wait 60 seconds, more than the window of 30"):
        assert_limited(plain.client, "GET", "/search", after=5, per="30 seconds")


def test_with_a_clock_the_wait_of_the_429_is_tried(shop: Shop) -> None:
    with clock(shop.app) as held:
        before = held.now
        assert_limited(shop.client, "GET", "/search", after=5, per=60, clock=held)
        assert held.now == before + 60
        assert_not_limited(shop.client, "GET", "/search", times=4)


def test_a_failure_shows_the_request_and_the_response(plain: Shop) -> None:
    headers = {"Authorization": "Bearer a-token-of-some-length-that-nobody-should-see", "X-Shop": "north"}
    with pytest.raises(AssertionError) as caught:
        assert_not_limited(plain.client, "GET", "/search", times=6, headers=headers)
    said = str(caught.value)
    assert "request 6 of 6 is limited" in said
    assert "sent:     request 6: GET /search headers=" in said
    assert "X-Shop" in said
    assert "nobody-should-see" not in said
    assert 'returned: 429 {"type":' in said
    assert "retry-after: 60" in said
    assert '"5-per-minute";q=5;w=60' in said


def test_what_is_not_limited_is_not(shop: Shop) -> None:
    assert assert_not_limited(shop.client, "GET", "/search", times=5).status_code == 200
    assert assert_not_limited(shop.client, "GET", "/nowhere", times=9).status_code == 404


def test_a_route_requires_its_scopes_and_its_roles(shop: Shop) -> None:
    let_in = assert_requires_token(shop.client, "POST", "/orders/1", scopes="orders:read orders:write")
    assert let_in.status_code == 200
    assert_requires_token(shop.client, "POST", "/orders/1", scopes=["orders:write", "orders:read"])
    assert assert_requires_token(shop.client, "GET", "/admin", roles="admin").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "wanted", "message"),
    [
        ("GET", "/search", {}, "a request without a token is not 401"),
        ("POST", "/orders/1", {"scopes": "orders:read"}, "a token with scopes .* is refused"),
        ("POST", "/orders/1", {"scopes": "orders:read orders:write more"}, "a token with the scopes .* is not 403"),
        ("GET", "/admin", {"scopes": "any"}, "is refused"),
        ("POST", "/orders/1", {"roles": "admin", "scopes": "orders:read orders:write"}, "a token without roles is not 403"),
    ],
    ids=["open", "fewer scopes", "more scopes", "scopes for roles", "roles for scopes"],
)
def test_a_route_that_requires_something_else_is_told(
    plain: Shop, method: str, path: str, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_requires_token(plain.client, method, path, **wanted)


def test_requests_carry_what_they_are_given(plain: Shop) -> None:
    app = FastAPI()
    LockWatch(app, config=isolated(jwt_secret=SECRET))

    @app.post("/notes", dependencies=[Depends(JWTAuth())])
    async def note(text: Annotated[str, Body(embed=True)]) -> str:
        return text

    from starlette.testclient import TestClient

    client = TestClient(app)
    assert_requires_token(client, "POST", "/notes", json={"text": "a"}, headers={"authorization": "Bearer mine"})
    assert assert_not_limited(client, "POST", "/notes", json={"text": "a"}).status_code == 401
    if hasattr(plain.client, "open"):
        assert assert_not_limited(plain.client, "POST", "/notes", data=b"a").get_data() == b"a"


async def test_clients_that_are_awaited() -> None:
    shop = fastapi_shop()
    async with waiting_client(shop.app) as client:
        with clock(client) as held:
            refused = await assert_limited_async(client, "GET", "/search", after=5, per="minute", clock=held)
            assert refused.status_code == 429
            await assert_not_limited_async(client, "GET", "/search", times=4)
            with pytest.raises(AssertionError, match="request 1 of 5 is limited already"):
                await assert_limited_async(client, "GET", "/search", after=5)
        scopes = ["orders:read", "orders:write"]
        assert (await assert_requires_token_async(client, "POST", "/orders/7", scopes=scopes)).json() == "nobody"


async def test_the_wrong_colour_is_told_and_sends_nothing() -> None:
    shop = fastapi_shop()
    async with waiting_client(shop.app) as client:
        with pytest.raises(TypeError, match="ends in _async"):
            assert_limited(client, "GET", "/search", after=1)
    with pytest.raises(TypeError, match="does not end in _async"):
        await assert_not_limited_async(shop.client, "GET", "/search")
    assert_limited(shop.client, "GET", "/search", after=5)
