"""What FastAPI is spared where a gate has verified the token: nothing that an application can see changes."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security, WebSocket
from fastapi.openapi.utils import get_openapi
from fastapi.security import SecurityScopes
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from lockwatch import Claims, JWTAuth, JWTConfig, LockWatch, TokenError
from tests.edges.asgi import Exchange, http

JWT = JWTConfig(jwt_secret="a secret of at least 32 characters")
Reader = Annotated[Claims, Depends(JWTAuth())]


async def get(app: Any, path: str, bearer: str | None = None) -> Exchange:
    return await http(app, "GET", path, headers={} if bearer is None else {"authorization": f"Bearer {bearer}"})


async def access(lockwatch: LockWatch, subject: str = "ada", **said: Any) -> str:
    return (await lockwatch.tokens.issue_token_pair(subject, said)).access_token


async def test_claims_reach_endpoints_whatever_else_they_take() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/request/{number}")
    async def with_request(number: int, claims: Reader, request: Request) -> Any:
        return [number, claims.subject, request.url.path]

    @app.get("/connection")
    async def with_connection(connection: HTTPConnection, claims: Reader) -> Any:
        return [claims.subject, connection.url.path]

    @app.get("/two")
    async def two(first: Reader, second: Annotated[Claims, Depends(JWTAuth(roles=["admin"]))]) -> Any:
        return [first.subject, second.subject, first is second]

    @app.get("/sync")
    def plain(claims: Reader) -> Any:
        return claims.subject

    bearer = await access(lockwatch, roles=["admin"])
    found = [(await get(app, path, bearer)).json() for path in ("/request/7", "/connection", "/two", "/sync")]
    assert found == [[7, "ada", "/request/7"], ["ada", "/connection"], ["ada", "ada", True], "ada"]
    assert [(await get(app, path)).status for path in ("/request/7", "/connection", "/two", "/sync")] == [401] * 4


async def test_a_token_of_nobodys_parameter_is_asked_for_on_application_router_and_route() -> None:
    app = FastAPI(dependencies=[Depends(JWTAuth(scopes=["app"]))])
    lockwatch = LockWatch(app, jwt=JWT)
    router = APIRouter(prefix="/router", dependencies=[Security(JWTAuth(), scopes=["router"])])

    @router.get("/x", dependencies=[Depends(JWTAuth(scopes=["route"]))])
    async def x() -> None: ...

    app.include_router(router)
    for scope, expected in (("app router route", 200), ("app router", 403), ("app route", 403), ("router route", 403)):
        assert (await get(app, "/router/x", await access(lockwatch, scope=scope))).status == expected
    assert (await get(app, "/router/x")).status == 401


async def test_the_schema_shows_the_token_after_requests_too() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)
    router = APIRouter(dependencies=[Depends(JWTAuth())])

    @app.get("/near")
    async def near(claims: Annotated[Claims, Security(JWTAuth(), scopes=["b"])]) -> None: ...

    @router.get("/included")
    async def included() -> None: ...

    app.include_router(router)
    before = get_openapi(title="x", version="1", routes=app.routes)
    bearer = await access(lockwatch, scope="b")
    assert [(await get(app, path, bearer)).status for path in ("/near", "/included")] == [200, 200]
    assert get_openapi(title="x", version="1", routes=app.routes) == before
    for path in ("/near", "/included"):
        assert [*before["paths"][path]["get"]["security"][0]] == ["JWTAuth"]


async def test_who_passes_by_the_gate_is_asked_all_the_same() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/named")
    async def named(claims: Annotated[Claims, Security(JWTAuth(), scopes=["a"])]) -> Any:
        return claims.subject

    @app.get("/unnamed", dependencies=[Depends(JWTAuth(scopes=["a"]))])
    async def unnamed() -> Any:
        return "ada"

    able, unable = await access(lockwatch, scope="a"), await access(lockwatch)
    assert (await get(app, "/named", able)).status == 200
    for route in app.routes:
        if getattr(route, "path", "") in ("/named", "/unnamed"):
            route.app = route.app.app  # type: ignore[attr-defined]  # the gate is gone
    for path in ("/named", "/unnamed"):
        assert [(await get(app, path, bearer)).status for bearer in (None, "a.b.c", unable, able)] == [401, 401, 403, 200]
        assert (await get(app, path, able)).json() == "ada"


async def test_a_preflight_of_a_route_that_answers_it_itself_shows_a_token() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.api_route("/x", methods=["OPTIONS"])
    async def x(claims: Reader) -> Any:
        return claims.subject

    asks = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert (await http(app, "OPTIONS", "/x", headers=asks)).status == 401
    seen = await http(app, "OPTIONS", "/x", headers=asks | {"authorization": f"Bearer {await access(lockwatch)}"})
    assert seen.json() == "ada"


async def test_a_request_under_way_keeps_its_claims_when_an_override_comes() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)
    auth = JWTAuth()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(wait: bool = False) -> None:
        if wait:
            reached.set()
            await go_on.wait()

    @app.get("/x", dependencies=[Depends(slow)])
    async def x(claims: Annotated[Claims, Depends(auth)]) -> Any:
        return claims.subject

    bearer = {"authorization": f"Bearer {await access(lockwatch)}"}
    first = asyncio.create_task(http(app, "GET", "/x", query_string=b"wait=1", headers=bearer))
    await asyncio.wait_for(reached.wait(), 20)
    app.dependency_overrides[auth] = lambda: Claims({"sub": "somebody", "exp": 0})
    assert (await get(app, "/x")).json() == "somebody"
    go_on.set()
    assert (await first).json() == "ada"
    app.dependency_overrides.clear()
    assert [(await get(app, "/x")).status, (await http(app, "GET", "/x", headers=bearer)).json()] == [401, "ada"]


async def test_a_class_of_the_application_does_what_it_adds() -> None:
    class Named(JWTAuth):
        async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> Any:
            claims = await super().__call__(connection, security_scopes)
            return claims and claims.subject.upper()

    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/x")
    async def x(name: Annotated[str, Depends(Named())]) -> str:
        return name

    assert (await get(app, "/x", await access(lockwatch))).json() == "ADA"


async def test_applications_that_share_a_route_believe_each_their_own_tokens() -> None:
    shared = FastAPI()

    @shared.get("/x")
    async def x(claims: Reader) -> Any:
        return claims.subject

    apps = [FastAPI(), FastAPI()]
    watches = [LockWatch(app, jwt=JWTConfig(jwt_secret=f"secret number {n} of at least 32 letters")) for n, app in enumerate(apps)]
    bearers = [await access(watch, f"user {n}") for n, watch in enumerate(watches)]
    for app in apps:
        app.mount("/shared", shared)
    for _ in range(2):
        seen = [[(await get(app, "/shared/x", bearer)).status for bearer in bearers] for app in apps]
        assert seen == [[200, 401], [401, 200]]
    assert [(await get(app, "/shared/x", b)).json() for app, b in zip(apps, bearers, strict=True)] == ["user 0", "user 1"]
    assert get_openapi(title="x", version="1", routes=shared.routes)["paths"]["/x"]["get"]["security"] == [{"JWTAuth": []}]


async def test_a_mounted_application_answers_what_its_endpoint_raises() -> None:
    app, inner = FastAPI(), FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)
    app.mount("/inner", inner)

    @inner.get("/x")
    async def x(claims: Reader) -> None:
        raise TokenError("revoked")

    assert (await get(app, "/inner/x", await access(lockwatch))).status == 401


async def test_a_websocket_gets_its_claims() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, claims: Reader) -> None:
        await socket.accept()
        await socket.send_text(claims.subject)
        await socket.close()

    bearer = {"authorization": f"Bearer {await access(lockwatch)}"}
    with TestClient(app) as client:
        for _ in range(2):
            with client.websocket_connect("/ws", headers=bearer) as socket:
                assert socket.receive_text() == "ada"


async def test_with_limits_switched_off_the_token_is_asked_for_before_the_body_is_judged() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/number/{number}")
    async def number(number: int, claims: Reader) -> Any:
        return [number, claims.subject]

    bearer = await access(lockwatch)
    assert (await get(app, "/number/7", bearer)).json() == [7, "ada"]
    lockwatch.engine.admission.mode = "off"
    assert [(await get(app, path)).status for path in ("/number/7", "/number/seven")] == [401, 401]
    assert [(await get(app, path, bearer)).status for path in ("/number/7", "/number/seven")] == [200, 422]
    lockwatch.engine.admission.mode = "enforce"
    assert [(await get(app, path)).status for path in ("/number/7", "/number/seven")] == [401, 401]
