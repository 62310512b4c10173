"""WebSockets that require a token, and cookies of browsers: who may open, who may change, and when it ends."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Response, WebSocket, WebSocketDisconnect

from lockwatch import Claims, JWTAuth, LockWatch, TokenError
from lockwatch.fastapi.sockets import MOST, Socket, Watch
from lockwatch.tokens.access_cookie import AccessCookie
from lockwatch.tokens.sender import Sender
from tests.edges.asgi import http
from tests.edges.test_fastapi_tokens import JWT, access, clocked, problem, shop
from tests.tokens.forge import NOW


# ------------------------------------------------------------------ WebSockets
class Line:
    """A client of a WebSocket, driven by a test."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._sent.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": "/ws",
            "raw_path": b"/ws",
            "root_path": "",
            "scheme": "ws",
            "query_string": b"",
            "headers": [(b"host", b"test"), *[(k.encode(), v.encode()) for k, v in headers.items()]],
            "client": ("192.0.2.1", 50_000),
            "subprotocols": [],
            "state": {},
        }
        self.running = asyncio.ensure_future(app(scope, self._sent.get, self._heard.put))

    async def heard(self) -> Any:
        return await asyncio.wait_for(self._heard.get(), 5)

    @property
    def silent(self) -> bool:
        return self._heard.empty()

    def say(self, text: str) -> None:
        self._sent.put_nowait({"type": "websocket.receive", "text": text})

    def hang_up(self) -> None:
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1000})


def echo(clock: list[int], auth: JWTAuth) -> tuple[FastAPI, LockWatch, list[str]]:
    app, lockwatch, events = FastAPI(), clocked(clock), []

    @app.websocket("/ws")
    async def talk(socket: WebSocket, claims: Annotated[Claims | None, Depends(auth)]) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect as gone:
            events.append(f"{claims.subject if claims else 'nobody'} {gone.code}")

    lockwatch.init_app(app)
    return app, lockwatch, events


async def test_a_websocket_is_closed_when_its_token_expires_or_is_revoked() -> None:
    clock = [NOW]
    app, lockwatch, events = echo(clock, JWTAuth())
    watch = lockwatch.guards[0].watch
    lines = [Line(app, {"authorization": f"Bearer {await access(lockwatch, name)}"}) for name in ("alice", "bob")]
    for line in lines:
        assert (await line.heard())["type"] == "websocket.accept"
        line.say("hello")
        assert (await line.heard())["text"] == "hello"
    await watch.look()
    await lockwatch.tokens.revoke_subject("alice")
    await watch.look()
    assert await lines[0].heard() == {"type": "websocket.close", "code": 4401, "reason": "the token was revoked"}
    await lines[0].running
    lines[1].say("still here")
    assert (await lines[1].heard())["text"] == "still here"
    clock[0] += 900 + 29
    await watch.look()
    lines[1].say("and here")
    assert (await lines[1].heard())["text"] == "and here"
    clock[0] += 1
    await watch.look()
    assert await lines[1].heard() == {"type": "websocket.close", "code": 4401, "reason": "the token has expired"}
    await lines[1].running
    assert events == ["alice 4401", "bob 4401"]


async def test_a_socket_that_only_sends_hears_of_the_end_too() -> None:
    app, lockwatch, ended = FastAPI(), clocked([NOW]), asyncio.Event()

    @app.websocket("/ws")
    async def tick(socket: WebSocket, claims: Annotated[Claims, Depends(JWTAuth())]) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text("tick")
                await asyncio.sleep(0)
        except WebSocketDisconnect:
            ended.set()

    lockwatch.init_app(app)
    line = Line(app, {"authorization": f"Bearer {await access(lockwatch)}"})
    assert (await line.heard())["type"] == "websocket.accept"
    await lockwatch.tokens.revoke_subject("alice")
    await lockwatch.guards[0].watch.look()
    await asyncio.wait_for(ended.wait(), 5)
    await line.running


async def test_a_client_that_hangs_up_leaves_nothing_behind() -> None:
    app, lockwatch, events = echo([NOW], JWTAuth(optional=True))
    before = asyncio.all_tasks()
    for headers in ({}, {"authorization": f"Bearer {await access(lockwatch)}"}):
        line = Line(app, headers)
        assert (await line.heard())["type"] == "websocket.accept"
        line.hang_up()
        await line.running
    await asyncio.sleep(0)
    assert events == ["nobody 1000", "alice 1000"]
    assert asyncio.all_tasks() == before


async def test_a_socket_that_one_side_has_closed_is_not_closed_again() -> None:
    app, lockwatch, go = FastAPI(), clocked([NOW]), asyncio.Event()
    auth = JWTAuth(locations=("header", "subprotocol"))

    @app.websocket("/ws")
    async def linger(socket: WebSocket, claims: Annotated[Claims, Depends(auth)]) -> None:
        await socket.accept()
        if "close" in await socket.receive_text():
            await socket.close()
        else:
            with pytest.raises(WebSocketDisconnect):
                await socket.receive_text()
        await go.wait()

    lockwatch.init_app(app)
    lines = []
    for word in ("close", "wait"):
        line = Line(app, {"authorization": f"Bearer {await access(lockwatch)}", "sec-websocket-protocol": "bearer"})
        assert (await line.heard())["type"] == "websocket.accept"
        line.say(word)
        line.hang_up()
        lines.append(line)
    assert (await lines[0].heard())["type"] == "websocket.close"
    await lockwatch.tokens.revoke_subject("alice")
    for _ in range(5):
        await asyncio.sleep(0)
    await lockwatch.guards[0].watch.look()
    go.set()
    for line in lines:
        await line.running
        assert line.silent


async def test_a_browser_offers_its_token_as_a_subprotocol() -> None:
    app, lockwatch, _ = echo([NOW], JWTAuth(locations=("header", "subprotocol")))
    line = Line(app, {"sec-websocket-protocol": f"bearer, {await access(lockwatch)}"})
    assert (await line.heard())["subprotocol"] == "bearer"
    line.hang_up()
    await line.running
    for offered in ("bearer", "bearer, a.b.c", "bearer, ", "chat"):
        line = Line(app, {"sec-websocket-protocol": offered})
        assert (await line.heard())["type"] == "websocket.close"
        await line.running
    app, lockwatch, _ = echo([NOW], JWTAuth())
    line = Line(app, {"sec-websocket-protocol": f"bearer, {await access(lockwatch)}"})
    assert (await line.heard())["type"] == "websocket.close"
    await line.running


async def test_one_look_asks_for_a_bounded_number_of_sockets() -> None:
    asked: list[int] = []

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    def asking(number: int) -> Any:
        async def revoked() -> bool:
            asked.append(number)
            return False

        return revoked

    watch = Watch(lambda: NOW)
    sockets = [Socket(receive, send, NOW + 1, asking(i)) for i in range(2 * MOST + 10)]
    for socket in sockets:
        watch.add(socket)
    for _ in range(3):
        before = len(asked)
        await watch.look()
        assert len(asked) - before == MOST
    assert set(asked) == set(range(len(sockets)))
    for socket in sockets:
        watch.discard(socket)


# --------------------------------------------------------------------- cookies
COOKIES = JWTAuth(locations=("header", "cookie"))


def site(**options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT, **options)

    @app.post("/login")
    async def login(response: Response) -> None:
        lockwatch.set_access_cookies(response, await lockwatch.tokens.issue_token_pair("alice"))

    @app.post("/logout")
    async def logout(response: Response) -> None:
        lockwatch.unset_access_cookies(response)

    @app.api_route("/me", methods=["GET", "POST", "DELETE"])
    async def me(claims: Annotated[Claims, Depends(COOKIES)]) -> str:
        return claims.subject

    return app, lockwatch


async def signed_in(app: FastAPI) -> tuple[dict[str, str], str]:
    """What a browser sends after a login, and the CSRF token its scripts read."""
    pairs = dict(value.partition(";")[0].split("=", 1) for value in (await http(app, "POST", "/login")).all("set-cookie"))
    return {"cookie": "; ".join(f"{k}={v}" for k, v in pairs.items())}, pairs["__Host-lockwatch-csrf"]


async def test_cookies_are_for_this_host_over_tls_and_only_one_is_for_scripts() -> None:
    app, _ = site()
    token_cookie, csrf_cookie = (await http(app, "POST", "/login")).all("set-cookie")
    assert token_cookie.startswith("__Host-lockwatch-access=")
    for attribute in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Expires="):
        assert f"; {attribute}" in token_cookie
    assert csrf_cookie.startswith("__Host-lockwatch-csrf=")
    assert "; Secure; SameSite=Strict" in csrf_cookie
    for cookie in (token_cookie, csrf_cookie):
        assert "Domain" not in cookie
    assert "HttpOnly" not in csrf_cookie
    gone = (await http(app, "POST", "/logout")).all("set-cookie")
    assert all("=; Path=/; Expires=Thu, 01 Jan 1970" in cookie for cookie in gone)


async def test_a_cookie_reads_by_itself_and_changes_with_its_csrf_token_only() -> None:
    app, lockwatch = site()
    cookies, csrf = await signed_in(app)
    assert (await http(app, "GET", "/me", headers=cookies)).json() == "alice"
    for method in ("POST", "DELETE"):
        for shown in ({}, {"x-csrf-token": ""}, {"x-csrf-token": csrf[:-1]}, {"x-csrf-token": "é"}):
            seen = await http(app, method, "/me", headers=cookies | shown)
            assert seen.status == 403
            said = problem(seen)
            assert said["error"] == "csrf_token"
            assert "__Host-lockwatch-csrf" in said["detail"]
            assert "X-CSRF-Token" in said["detail"]
            assert seen.header("www-authenticate") is None
        assert (await http(app, method, "/me", headers=cookies | {"x-csrf-token": csrf})).status == 200
    _, other = await signed_in(app)
    assert (await http(app, "POST", "/me", headers=cookies | {"x-csrf-token": other})).status == 403, "of another session"
    bearer = {"authorization": f"Bearer {await access(lockwatch)}"}
    assert (await http(app, "POST", "/me", headers=bearer)).status == 200, "no browser adds this by itself"


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        ({"origin": "https://test"}, 200),
        ({"origin": "https://TEST"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://test.evil.example"}, 403),
        ({"origin": "https://test:443"}, 200),
        ({"origin": "https://test:8443"}, 403),
        ({"origin": "http://test"}, 403),
        ({"origin": "https://user@test"}, 403),
        ({"origin": "https://test/path"}, 403),
        ({"origin": "https://app.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://[bad"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({}, 200),
    ],
)
async def test_a_page_of_another_origin_is_refused_even_with_the_csrf_token(sender: dict[str, str], status: int) -> None:
    app, _ = site()
    cookies, csrf = await signed_in(app)
    seen = await http(app, "POST", "/me", headers=cookies | {"x-csrf-token": csrf} | sender)
    assert seen.status == status
    if status == 403:
        assert problem(seen)["error"] == "csrf_origin"
    assert (await http(app, "GET", "/me", headers=cookies | sender)).status == 200


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        ({"origin": "https://app.example.com"}, 200),
        ({"origin": "https://APP.example.com:443", "sec-fetch-site": "same-site"}, 200),
        ({"origin": "http://app.example.com"}, 403),
        ({"origin": "https://www.app.example.com"}, 403),
        ({"origin": "https://test"}, 200),
    ],
)
async def test_further_origins_may_send_the_cookie_when_they_are_trusted(sender: dict[str, str], status: int) -> None:
    app, _ = site(trusted_origins=["https://app.example.com"])
    cookies, csrf = await signed_in(app)
    assert (await http(app, "POST", "/me", headers=cookies | {"x-csrf-token": csrf} | sender)).status == status
    assert (await http(app, "POST", "/me", headers=cookies | sender)).status == 403, "the CSRF token has to be shown all the same"


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("localhost:8000", "http://localhost:8000", True),
        ("shop.localhost", "http://shop.localhost", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("[::1]", "http://[::1]", True),
        ("localhost:8000", "http://localhost:9000", False),
        ("192.0.2.1", "http://192.0.2.1", False),
        ("localhost.evil.example", "http://localhost.evil.example", False),
        ("shop.example:443", "https://shop.example", True),
        ("shop.example:80", "http://shop.example", False),
        ("", "https://shop.example", False),
        ("a b", "https://a b", False),
    ],
)
def test_an_origin_without_tls_is_another_one_but_on_this_machine(host: str, origin: str, own: bool) -> None:
    assert Sender("POST", host, origin, "", "").is_own() is own


async def test_a_cookie_is_no_better_than_its_token() -> None:
    app, lockwatch = site()
    cookies, _ = await signed_in(app)
    assert (await http(app, "GET", "/me", headers={"cookie": "__Host-lockwatch-access=a.b.c"})).status == 401
    assert (await http(app, "GET", "/me", headers={"cookie": "__Host-lockwatch-access="})).status == 401
    twice = {"cookie": f"{cookies['cookie']}; __Host-lockwatch-access=a.b.c"}
    assert (await http(app, "GET", "/me", headers=twice)).status == 400
    assert (await http(app, "GET", "/me", headers=cookies | {"authorization": "Bearer a.b.c"})).status == 401, (
        "the header goes first"
    )
    await lockwatch.tokens.revoke_subject("alice")
    assert (await http(app, "GET", "/me", headers=cookies)).status == 401
    other, _ = shop()
    assert (await http(other, "GET", "/me", headers=(await signed_in(app))[0])).status == 401, "cookies have to be asked for"


async def test_a_websocket_with_a_cookie_has_to_come_from_this_origin() -> None:
    app, lockwatch, _ = echo([NOW], COOKIES)
    cookie = {"cookie": f"__Host-lockwatch-access={await access(lockwatch)}"}
    for sender, kind in (
        ({}, "websocket.close"),
        ({"origin": "https://evil.example"}, "websocket.close"),
        ({"origin": "https://test"}, "websocket.accept"),
    ):
        line = Line(app, cookie | sender)
        assert (await line.heard())["type"] == kind
        line.hang_up()
        await line.running


def test_a_secret_that_is_replaced_still_proves_a_session() -> None:
    before, after = AccessCookie([b"o" * 32], "shop"), AccessCookie([b"n" * 32, b"o" * 32], "shop")
    shown = before.keep("t", "session", 0)[1].partition(";")[0].partition("=")[2]
    after.check("session", Sender("POST", "test", "", "", shown))
    for other in (AccessCookie([b"n" * 32], "shop"), AccessCookie([b"o" * 32], "other")):
        with pytest.raises(TokenError):
            other.check("session", Sender("POST", "test", "", "", shown))


def test_openapi_names_a_cookie_that_is_the_only_way() -> None:
    app, _ = shop(auth=JWTAuth(locations="cookie"))
    assert app.openapi()["components"]["securitySchemes"] == {
        "JWTAuthCookie": {"type": "apiKey", "in": "cookie", "name": "__Host-lockwatch-access"}
    }
