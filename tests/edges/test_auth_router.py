"""The endpoints of sessions over HTTP: every outcome, on every kind of store."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from lockwatch import Claims, ConfigurationError, Issuer, JWTAuth, JWTConfig, LockWatch, RateLimit, RefreshCookie
from lockwatch.tokens.keyfile import new_pem
from lockwatch.tokens.pair import TokenPair
from tests import servers
from tests.tokens import forge

PEM = new_pem("ES256")
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Shop:
    """An application that issues tokens."""

    def __init__(self, redis_url: str | None = None, **options: Any) -> None:
        settings = {name: options.pop(name) for name in list(options) if name.endswith("_seconds") or name == "refresh_format"}
        self.app = FastAPI()
        jwt = options.pop("jwt", None) or JWTConfig(rsa_private_key_pem=PEM, **settings)
        self.lockwatch = LockWatch(self.app, redis_url=redis_url, jwt=jwt, **{"store_timeout": 10, **options})
        self.tokens = self.lockwatch.tokens

    def client(self, **options: Any) -> httpx.AsyncClient:
        self.app.include_router(self.lockwatch.auth_router(**options))
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="https://shop.example")

    async def aclose(self) -> None:
        await self.lockwatch.aclose()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Any:
    return None if request.param == "memory" else request.getfixturevalue("redis_server")


@pytest.fixture
async def shop(store: Any) -> AsyncIterator[Shop]:
    made = Shop(store)
    yield made
    await made.aclose()


def bearer(pair: TokenPair) -> dict[str, str]:
    return {"authorization": f"Bearer {pair.access_token}"}


async def refresh(http: httpx.AsyncClient, token: object) -> httpx.Response:
    return await http.post("/auth/refresh", json={"refresh_token": token})


# ------------------------------------------------------------ refresh
async def test_a_refresh_answers_the_fields_of_a_token_pair(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42", {"plan": "pro"})
    async with shop.client() as http:
        answer = await refresh(http, pair.refresh_token)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert set(answer.json()) == {"access_token", "refresh_token", "access_expires_at", "refresh_expires_at", "token_type"}
    assert (await shop.tokens.verify_access(answer.json()["access_token"]))["plan"] == "pro"


async def test_what_is_wrong_with_a_refresh_token_is_told_to_nobody(store: Any) -> None:
    shop = Shop(store, refresh_grace_seconds=0, refresh_token_ttl_seconds=1)
    ended, reused, expired = [await shop.tokens.issue_token_pair("user:42") for _ in range(3)]
    await shop.tokens.revoke_token(ended.refresh_token)
    await shop.tokens.rotate(reused.refresh_token)
    async with shop.client() as http:
        answers = [await refresh(http, pair.refresh_token) for pair in (ended, reused)]
        await asyncio.sleep(1.1)  # the clock is the server's
        answers.append(await refresh(http, expired.refresh_token))
        foreign = await Shop(namespace="another").tokens.issue_token_pair("user:42")
        unknown = foreign.refresh_token[:-1] + ("A" if foreign.refresh_token[-1] != "A" else "B")
        strange = (foreign.refresh_token, unknown, expired.access_token, "", "x" * 9000)
        answers += [await refresh(http, token) for token in strange]
    await shop.aclose()
    said = {(a.status_code, a.content, tuple(sorted(a.headers.items()))) for a in answers}
    assert len(said) == 1, said
    assert (answers[0].status_code, answers[0].json()["error"]) == (400, "invalid_grant")
    assert answers[0].headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"refresh_token": 5}', "application/json", 400),
        (b'{"refresh_token": null}', "application/json", 400),
        (b'["refresh_token"]', "application/json", 400),
        (b"{not json", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (rb'{"refresh_token": "\ud800"}', "application/json", 400),
        (b'{"refresh_token": "a", "refresh_token": "b"}', "application/json", 400),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "application/json", 400),
        (b'{"refresh_token": "a"}', "text/plain", 400),
        (b"refresh_token=a", "application/x-www-form-urlencoded", 400),
        (b'{"refresh_token": "' + b"a" * 20_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_told_what_to_send(body: bytes, kind: str, status: int) -> None:
    async with Shop().client() as http:
        answer = await http.post("/auth/refresh", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"
    assert "refresh_token" in answer.json()["error_description"] or status == 413


async def test_a_body_without_end_is_read_no_further_than_the_bound() -> None:
    sent = 0

    async def forever() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"a" * 1024

    async with Shop().client() as http:
        answer = await http.post("/auth/refresh", content=forever(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert sent < 30


async def test_sixty_refreshes_at_once_get_one_successor(redis_server: str) -> None:
    shops = [Shop(redis_server) for _ in range(3)]
    pair = await shops[0].tokens.issue_token_pair("user:42")
    https = [shop.client() for shop in shops]
    answers = await asyncio.gather(*[refresh(https[n % 3], pair.refresh_token) for n in range(60)])
    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert pair.refresh_token not in successors
    (session,) = await shops[1].tokens.sessions("user:42")
    assert session.generation == 1
    for answer in answers:
        assert (await shops[2].tokens.verify_access(answer.json()["access_token"])).family == session.id
    for each in (*https, *shops):
        await each.aclose()


async def test_reuse_ends_the_session_and_every_access_token_of_it(store: Any) -> None:
    shop = Shop(store, refresh_grace_seconds=0)
    stolen = await shop.tokens.issue_token_pair("user:42")
    elsewhere = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        owner = (await refresh(http, stolen.refresh_token)).json()
        assert (await refresh(http, stolen.refresh_token)).status_code == 400
        assert (await refresh(http, owner["refresh_token"])).status_code == 400
        for token in (stolen.access_token, owner["access_token"]):
            answer = await http.get("/auth/sessions", headers={"authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        left = (await http.get("/auth/sessions", headers=bearer(elsewhere))).json()["sessions"]
    assert [session["current"] for session in left] == [True]
    await shop.aclose()


async def test_a_refresh_repeated_too_often_is_told_to_wait_and_lives(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42")
    new = await shop.tokens.rotate(pair.refresh_token)
    async with shop.client() as http:
        answers = [await refresh(http, pair.refresh_token) for _ in range(66)]
        assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert (await refresh(http, new.refresh_token)).status_code == 200


@pytest.mark.parametrize("waiting", [False, True])
async def test_claims_are_read_anew_at_a_refresh(store: Any, waiting: bool) -> None:
    roles: dict[str, Any] = {"user:42": {"roles": ["admin"]}}

    async def load(subject: str) -> Any:
        return roles.get(subject)

    shop = Shop(store, load_claims=lambda subject: {"roles": ["of the manager"]})
    pair = await shop.tokens.issue_token_pair("user:42", {"roles": ["user"], "plan": "pro"})
    async with shop.client(load_claims=load if waiting else roles.get) as http:
        new = (await refresh(http, pair.refresh_token)).json()
        claims = await shop.tokens.verify_access(new["access_token"])
        assert (claims.roles, claims["plan"]) == ({"admin"}, "pro")
        roles.clear()
        assert (await refresh(http, new["refresh_token"])).json()["error"] == "invalid_grant"
        answer = await http.get("/auth/sessions", headers={"authorization": f"Bearer {new['access_token']}"})
        assert answer.status_code == 401
    await shop.aclose()


async def test_a_loader_that_fails_costs_nobody_the_session(store: Any) -> None:
    users: dict[str, Any] = {}
    shop = Shop(store, load_claims=lambda subject: users[subject])
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        with pytest.raises(KeyError):
            await refresh(http, pair.refresh_token)
        users["user:42"] = {"roles": ["admin"]}
        again = await refresh(http, pair.refresh_token)
    assert (await shop.tokens.verify_access(again.json()["access_token"])).roles == {"admin"}
    await shop.aclose()


async def test_claims_of_a_loader_cannot_say_who_somebody_is() -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client(load_claims=lambda subject: {"sub": "admin"}) as http:
        with pytest.raises(ValueError, match="claims may not set 'sub'"):
            await refresh(http, pair.refresh_token)


# ------------------------------------------------------------ logout
@pytest.mark.parametrize("how", ["refresh token", "access token", "used refresh token"])
async def test_a_logout_ends_one_session(shop: Shop, how: str) -> None:
    pair, other = [await shop.tokens.issue_token_pair("user:42") for _ in range(2)]
    new = await shop.tokens.rotate(pair.refresh_token)
    async with shop.client() as http:
        if how == "access token":
            answer = await http.post("/auth/logout", headers=bearer(pair))
        else:
            token = new.refresh_token if how == "refresh token" else pair.refresh_token
            answer = await http.post("/auth/logout", json={"refresh_token": token})
        assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (204, b"", "no-store")
        assert (await refresh(http, new.refresh_token)).status_code == 400
        assert (await http.get("/auth/sessions", headers=bearer(new))).status_code == 401
        assert len((await http.get("/auth/sessions", headers=bearer(other))).json()["sessions"]) == 1


async def test_a_logout_of_nobody_is_one_like_any_other(shop: Shop) -> None:
    async with shop.client() as http:
        for token in ("lwr1_forged", ""):
            assert (await http.post("/auth/logout", json={"refresh_token": token})).status_code == 204


async def test_a_logout_everywhere_ends_every_session(shop: Shop) -> None:
    pairs = [await shop.tokens.issue_token_pair("user:42") for _ in range(3)]
    stranger = await shop.tokens.issue_token_pair("user:43")
    async with shop.client() as http:
        assert (await http.post("/auth/logout-all", headers=bearer(pairs[0]))).status_code == 204
        for pair in pairs:
            assert (await refresh(http, pair.refresh_token)).status_code == 400
            assert (await http.get("/auth/sessions", headers=bearer(pair))).status_code == 401
        assert (await refresh(http, stranger.refresh_token)).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/auth/logout"), ("POST", "/auth/logout-all"), ("GET", "/auth/sessions")])
async def test_who_does_not_say_who_it_is_gets_a_challenge(shop: Shop, method: str, path: str) -> None:
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        none = await http.request(method, path)
        assert (none.status_code, none.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
        for token in ("nonsense", pair.refresh_token, pair.access_token[:-2]):
            answer = await http.request(method, path, headers={"authorization": f"bearer {token}"})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert answer.headers["cache-control"] == "no-store"
        twice = await http.request(method, path, headers=[("authorization", f"Bearer {pair.access_token}")] * 2)
        assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")


async def test_a_third_party_names_none_of_our_subjects() -> None:
    theirs = Issuer("https://login.example", audience="shop")
    shop, now = Shop(issuers=[theirs]), int(time.time())
    pair = await shop.tokens.issue_token_pair("user:42")
    assert shop.lockwatch.engine.identity is not None
    shop.lockwatch.engine.identity.trust.fetched(theirs.url, forge.ring().keys, now, 300)
    said = forge.claims(iss=theirs.url, aud="shop", sub="user:42", iat=now, exp=now + 60, scope="a")
    other = {"authorization": f"Bearer {forge.token(forge.ring().current, body=said)}"}

    @shop.app.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    async with shop.client() as http:
        assert (await http.get("/me", headers=other)).status_code == 200
        for method, path in (("GET", "sessions"), ("POST", "logout-all"), ("POST", "logout")):
            answer = await http.request(method, f"/auth/{path}", headers=other)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert (await shop.tokens.verify_access(pair.access_token)).subject == "user:42"


# ------------------------------------------------------------ cookies
SAME: Final = {"sec-fetch-site": "same-origin"}
COOKIE: Final = RefreshCookie()


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"]


def kept(pair: TokenPair) -> dict[str, str]:
    return {"cookie": f"other=1; {COOKIE.keep(pair).partition(';')[0]}"}


async def test_a_browser_refreshes_and_logs_out_with_its_cookie(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client(cookie=COOKIE) as http:
        answer = await http.post("/auth/refresh", headers=kept(pair) | SAME)
        assert answer.status_code == 200
        assert "refresh_token" not in answer.json()
        assert (await shop.tokens.verify_access(answer.json()["access_token"])).subject == "user:42"
        written, *attributes = cookie_of(answer).split("; ")
        assert {a for a in attributes if not a.startswith("Expires")} == {"Path=/auth", "Secure", "HttpOnly", "SameSite=Strict"}
        http.cookies.clear()
        out = await http.post("/auth/logout", headers={"cookie": written} | SAME)
        assert (out.status_code, cookie_of(out)) == (204, COOKIE.drop())
        http.cookies.clear()
        refused = await http.post("/auth/refresh", headers={"cookie": written} | SAME)
        assert (refused.status_code, refused.json()["error"], cookie_of(refused)) == (400, "invalid_grant", COOKIE.drop())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none", "origin": "https://shop.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://shop.example.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://["}, 403),
        ({"origin": "https://shop.example"}, 200),
        ({"origin": "http://shop.example"}, 403),
        ({"origin": "https://app.shop.example", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://SHOP.example", "sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_a_cookie_is_taken_from_pages_of_this_site_only(headers: dict[str, str], status: int) -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client(cookie=COOKIE) as http:
        for path in ("refresh", "logout"):
            answer = await http.post(f"/auth/{path}", headers=kept(pair) | headers)
            assert answer.status_code == (status if path == "refresh" or status == 403 else 204)
            assert ("set-cookie" in answer.headers) is (status == 200)
            http.cookies.clear()
    if status == 403:
        assert (await shop.tokens.verify_access(pair.access_token)).subject == "user:42"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://app.shop.example", "sec-fetch-site": "same-site"}, 200),
        ({"origin": "https://app.shop.example"}, 200),
        ({"origin": "https://app.shop.example", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://other.shop.example", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://app.shop.example", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
async def test_pages_of_trusted_origins_send_the_cookie_too(headers: dict[str, str], status: int) -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42")
    cookie = RefreshCookie(trusted_origins=["https://app.shop.example"])
    async with shop.client(cookie=cookie) as http:
        assert (await http.post("/auth/refresh", headers=kept(pair) | headers)).status_code == status


async def test_no_cookie_goes_while_nothing_is_decided(redis_server: str) -> None:
    shop = Shop(redis_server)
    pair = await shop.tokens.issue_token_pair("user:42")
    await shop.tokens.rotate(pair.refresh_token)
    async with shop.client(cookie=COOKIE) as http:
        answers = []
        for _ in range(66):
            answers.append(await http.post("/auth/refresh", headers=kept(pair) | SAME))
            http.cookies.clear()
    assert (answers[-1].status_code, "set-cookie" in answers[-1].headers) == (429, False)
    await shop.aclose()
    down = Shop(f"redis://127.0.0.1:{servers.free_port()}/0", store_timeout=0.05)
    async with down.client(cookie=COOKIE) as http:
        for path in ("refresh", "logout"):
            answer = await http.post(f"/auth/{path}", headers=kept(pair) | SAME)
            assert (answer.status_code, "set-cookie" in answer.headers) == (503, False)
    await down.aclose()


async def test_a_token_in_the_body_goes_before_the_cookie_and_leaves_it_alone() -> None:
    shop = Shop()
    one, other = [await shop.tokens.issue_token_pair("user:42") for _ in range(2)]
    async with shop.client(cookie=COOKIE) as http:
        for token, status in ((one.refresh_token, 200), ("lwr1_forged", 400)):
            answer = await http.post("/auth/refresh", json={"refresh_token": token}, headers=kept(other))
            assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)
        assert (await http.post("/auth/refresh", headers=SAME)).status_code == 400
        everywhere = await http.post("/auth/logout-all", headers=bearer(one))
        assert (everywhere.status_code, cookie_of(everywhere)) == (204, COOKIE.drop())


async def test_a_cookie_is_not_looked_at_where_none_is_configured() -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        assert (await http.post("/auth/refresh", headers=kept(pair) | SAME)).json()["error"] == "invalid_request"
        assert (await http.post("/auth/logout", headers=kept(pair) | SAME)).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [{"name": "refresh"}, {"name": "__Secure-a b"}, {"path": "auth"}, {"path": "/a; Domain=evil"}, {"trusted_origins": ["*"]}],
)
def test_a_cookie_that_would_not_be_safe_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"correct one|like"):
        RefreshCookie(**wrong)


@pytest.mark.parametrize(
    ("path", "fits"), [("/auth", True), ("/api/auth", True), ("/", True), ("/session", False), ("/auth/x", False)]
)
def test_a_cookie_has_to_reach_the_endpoints(path: str, fits: bool) -> None:
    if fits:
        Shop().client(cookie=RefreshCookie(path))
        return
    with pytest.raises(ConfigurationError, match=r"RefreshCookie\('/auth'\)"):
        Shop().client(cookie=RefreshCookie(path))


async def test_a_refresh_renews_the_access_cookies_too_and_a_logout_takes_them_away() -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42")
    own = {"origin": "https://shop.example"}

    @shop.app.get("/me")
    async def me(claims: Claims = Depends(JWTAuth(locations=["cookie"]))) -> str:  # noqa: B008
        return claims.subject

    async with shop.client(cookie=COOKIE, access_cookies=True) as http:
        assert (await http.get("/me")).status_code == 401
        refreshed = await http.post("/auth/refresh", headers=kept(pair) | own)
        assert len(refreshed.headers.get_list("set-cookie")) == 3
        assert (await http.get("/me")).json() == "user:42"
        out = await http.post("/auth/logout", headers=own)
        assert (out.status_code, len(out.headers.get_list("set-cookie"))) == (204, 3)
        assert not http.cookies
        assert (await http.get("/me")).status_code == 401


async def test_who_asks_may_be_known_in_a_way_of_your_own() -> None:
    shop = Shop()
    pair = await shop.tokens.issue_token_pair("user:42", {"scope": "devices"})
    plain = await shop.tokens.issue_token_pair("user:42")
    async with shop.client(access=JWTAuth(scopes=["devices"], optional=True)) as http:
        assert (await http.get("/auth/sessions", headers=bearer(pair))).status_code == 200
        assert (await http.get("/auth/sessions", headers=bearer(plain))).status_code == 403
        assert (await http.get("/auth/sessions")).status_code == 401


# ------------------------------------------------------------ revocation, sessions, introspection
async def test_a_revoked_refresh_token_ends_its_session(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        answer = await http.post("/auth/revoke", data={"token": pair.refresh_token, "token_type_hint": "access_token"})
        assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
        assert (await http.get("/auth/sessions", headers=bearer(pair))).status_code == 401


@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_a_revoked_access_token_is_believed_no_more_and_its_session_lives(store: Any, form: str) -> None:
    shop = Shop(store, refresh_format=form)
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        for _ in range(2):
            assert (await http.post("/auth/revoke", data={"token": pair.access_token})).status_code == 200
        assert (await http.get("/auth/sessions", headers=bearer(pair))).status_code == 401
        new = (await refresh(http, pair.refresh_token)).json()
        assert (await shop.tokens.verify_access(new["access_token"])).subject == "user:42"
        assert (await http.post("/auth/revoke", data={"token": new["refresh_token"]})).status_code == 200
        assert (await refresh(http, new["refresh_token"])).status_code == 400
    await shop.aclose()


async def test_revoking_an_unknown_token_is_fine_and_a_request_without_one_is_not(shop: Shop) -> None:
    async with shop.client() as http:
        for token in ("nonsense", "lwr1_forged", "a.b.c", "\u00e4", "x" * 9000):
            assert (await http.post("/auth/revoke", data={"token": token})).status_code == 200
        for body in (b"", b"token=", b"token=a&token=b", b"other=a", b"token=%ff", b"token=\xff", b"&".join([b"token=a"] * 50)):
            answer = await http.post("/auth/revoke", content=body, headers=FORM)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await http.post("/auth/revoke", json={"token": "a"})).status_code == 400
        assert (await http.post("/auth/revoke", data={"token": "x" * 20_000})).status_code == 413


async def test_sessions_are_listed_with_their_devices_to_their_subject_alone(shop: Shop) -> None:
    await shop.tokens.issue_token_pair("user:42", device={"agent": "phone"})
    laptop = await shop.tokens.issue_token_pair("user:42", device={"agent": "laptop"})
    await shop.tokens.issue_token_pair("user:43", device={"agent": "another's"})
    async with shop.client() as http:
        answer = await http.get("/auth/sessions", headers=bearer(laptop))
    listed = answer.json()["sessions"]
    assert {(session["device"]["agent"], session["current"]) for session in listed} == {("phone", False), ("laptop", True)}
    assert set(listed[0]) == {"id", "created_at", "used_at", "expires_at", "current", "device"}
    assert answer.headers["cache-control"] == "no-store"


async def guard(x_key: str = Header("")) -> None:
    if x_key != "of a resource server":
        raise HTTPException(403)


async def test_introspection_is_there_only_behind_a_guard(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42", {"scope": "profile"})
    form = {"token": pair.access_token}
    async with shop.client() as http:
        assert (await http.post("/auth/introspect", data=form)).status_code == 404
    async with shop.client(introspection=guard) as http:
        assert (await http.post("/auth/introspect", data=form)).status_code == 403
        key = {"x-key": "of a resource server"}
        told = (await http.post("/auth/introspect", data=form, headers=key)).json()
        assert (told["active"], told["sub"], told["scope"], told["token_type"]) == (True, "user:42", "profile", "Bearer")
        await shop.tokens.revoke_subject("user:42")
        for token in (pair.access_token, pair.refresh_token, "nonsense"):
            answer = await http.post("/auth/introspect", data={"token": token}, headers=key)
            assert (answer.status_code, answer.json(), answer.headers["cache-control"]) == (200, {"active": False}, "no-store")


# ------------------------------------------------------------ keys
async def test_the_key_set_is_public_and_not_sent_twice(shop: Shop) -> None:
    pair = await shop.tokens.issue_token_pair("user:42")
    async with shop.client() as http:
        answer = await http.get("/.well-known/jwks.json")
        assert answer.headers["cache-control"].startswith("public, max-age=")
        assert answer.headers["content-type"] == "application/jwk-set+json"
        assert len(answer.headers.get_list("content-length")) == 1
        (key,) = answer.json()["keys"]
        assert set(key) == {"kid", "use", "alg", "kty", "crv", "x", "y"}
        header = pair.access_token.partition(".")[0]
        assert key["kid"] == json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
        again = await http.get("/.well-known/jwks.json", headers={"if-none-match": f'"other", {answer.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


async def test_a_secret_is_in_no_key_set() -> None:
    shop = Shop(jwt=JWTConfig(jwt_secret="0123456789abcdef" * 2))
    async with shop.client() as http:
        assert (await http.get("/.well-known/jwks.json")).json() == {"keys": []}


# ------------------------------------------------------------ outages, logs, schema
async def test_an_outage_is_503_and_says_nothing_about_tokens(store: Any) -> None:
    working = Shop(store)
    pair = await working.tokens.issue_token_pair("user:42")
    await working.aclose()
    down = Shop(f"redis://127.0.0.1:{servers.free_port()}/0", store_timeout=0.05)
    async with down.client(introspection=lambda: None) as http:
        answers = [
            await refresh(http, pair.refresh_token),
            await http.post("/auth/logout", json={"refresh_token": pair.refresh_token}),
            await http.post("/auth/logout", headers=bearer(pair)),
            await http.post("/auth/logout-all", headers=bearer(pair)),
            await http.post("/auth/revoke", data={"token": pair.refresh_token}),
            await http.post("/auth/revoke", data={"token": pair.access_token}),
            await http.get("/auth/sessions", headers=bearer(pair)),
            await http.post("/auth/introspect", data={"token": pair.access_token}),
        ]
        assert (await refresh(http, "lwr1_forged")).status_code == 400, "a forged token never asks the store"
        assert (await http.get("/.well-known/jwks.json")).status_code == 200
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        guarded = answer.request.url.path in ("/auth/logout-all", "/auth/sessions")
        assert answer.json()["error"] == ("revocation_unknown" if guarded else "temporarily_unavailable")
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
    await down.aclose()


async def test_no_token_is_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(refresh_grace_seconds=0)
    pair = await shop.tokens.issue_token_pair("user:42")
    with caplog.at_level(logging.DEBUG):
        async with shop.client() as http:
            new = (await refresh(http, pair.refresh_token)).json()
            await refresh(http, pair.refresh_token)
            await http.get("/auth/sessions", headers=bearer(pair))
            await http.post("/auth/revoke", data={"token": new["access_token"]})
    assert "reuse" in caplog.text
    said = caplog.text
    for token in (pair.access_token, pair.refresh_token, new["access_token"], new["refresh_token"]):
        assert token not in said
        assert token[-20:] not in said


def test_the_schema_describes_every_endpoint() -> None:
    shop = Shop()
    shop.client(introspection=guard, prefix="/session")
    schema = shop.app.openapi()
    assert set(schema["paths"]) == {
        *(f"/session/{name}" for name in ("refresh", "logout", "logout-all", "revoke", "sessions", "introspect")),
        "/.well-known/jwks.json",
    }
    refreshed = schema["paths"]["/session/refresh"]["post"]
    assert set(refreshed["responses"]) == {"200", "400", "413", "429", "503"}
    assert set(schema["paths"]["/session/sessions"]["get"]["responses"]) >= {"200", "401", "503"}
    assert schema["paths"]["/session/sessions"]["get"]["security"]
    assert "422" not in str({path: told for path, told in schema["paths"].items() if "introspect" not in path})
    assert refreshed["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/TokenPair")
    assert "refresh_token" in json.dumps(refreshed["requestBody"])
    assert set(schema["components"]["schemas"]["TokenPair"]["properties"]) == set(TokenPair.__dataclass_fields__)


async def test_an_application_includes_it_with_limits_of_its_own(redis_server: str) -> None:
    shop = Shop(redis_server, load_claims=lambda subject: {"plan": "pro"})
    shop.app.include_router(shop.lockwatch.auth_router(), dependencies=[Depends(RateLimit("3/hour"))])
    pair = await shop.tokens.issue_token_pair("user:42")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(shop.app), base_url="https://shop.example") as http:
        answers = [await refresh(http, pair.refresh_token) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["x-ratelimit-limit"] == "3"
    assert (await shop.tokens.verify_access(answers[0].json()["access_token"]))["plan"] == "pro"
    await shop.aclose()


def test_an_application_without_tokens_has_no_router() -> None:
    with pytest.raises(ConfigurationError, match="set jwt"):
        LockWatch(FastAPI()).auth_router()
