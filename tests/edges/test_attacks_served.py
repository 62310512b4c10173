"""The attack table through a server: every token, as bytes on a socket, in the header, in the cookie and in the body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI

from lockwatch import Claims, JWTAuth, JWTConfig, RefreshCookie
from tests.edges.test_fastapi_tokens import clocked, hostile
from tests.tokens import forge
from tests.tokens.forge import NOW, token

CONFIGS = {
    "RS256": JWTConfig(rsa_private_key_pem=forge.pem("a", "RS256")),
    "ES256": JWTConfig(rsa_private_key_pem=forge.pem("a", "ES256")),
    "HS256": JWTConfig(jwt_secret=forge.SECRET),
}
AT_ONCE = 16


class Served:
    """An application that a server serves on loopback."""

    def __init__(self, algorithm: str) -> None:
        self.app, self.lockwatch = FastAPI(), clocked([NOW], CONFIGS[algorithm])

        @self.app.api_route("/me", methods=["GET", "POST"])
        async def me(claims: Annotated[Claims, Depends(JWTAuth(locations=("header", "cookie")))]) -> str:
            return claims.subject

        self.lockwatch.init_app(self.app)
        self.app.include_router(self.lockwatch.auth_router(cookie=RefreshCookie()))
        self.server = uvicorn.Server(uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="critical"))
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._serving: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self._serving = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def end(self) -> None:
        self.server.should_exit = True
        assert self._serving is not None
        await self._serving
        await self.lockwatch.aclose()

    async def ask(self, line: str, headers: dict[str, bytes], body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body of the answer to bytes on a socket. A server that hangs up on megabytes may have answered."""
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            fields = {"host": b"shop.example", "connection": b"close", "content-length": str(len(body)).encode(), **headers}
            head = f"{line} HTTP/1.1\r\n".encode() + b"".join(k.encode() + b": " + v + b"\r\n" for k, v in fields.items())
            found = b""
            try:
                writer.write(head + b"\r\n" + body)
                await writer.drain()
                found = await reader.read()
            except ConnectionError:
                found = found or b"HTTP/1.1 400 hung up\r\n\r\n"
            finally:
                writer.close()
        assert found.startswith(b"HTTP/1.1 "), found[:100]
        return int(found.split(b" ", 2)[1]), found.partition(b"\r\n\r\n")[2]


@pytest.fixture
async def served() -> AsyncIterator[dict[str, Served]]:
    made = {algorithm: Served(algorithm) for algorithm in CONFIGS}
    for each in made.values():
        await each.begin()
    yield made
    for each in made.values():
        await each.end()


def raw(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")


async def test_a_good_token_is_let_in_by_header_and_by_cookie(served: dict[str, Served]) -> None:
    for algorithm, site in served.items():
        good = token(forge.ring(algorithm).current).encode()
        assert await site.ask("GET /me", {"authorization": b"Bearer " + good}) == (200, b'"user:42"')
        assert await site.ask("GET /me", {"cookie": b"__Host-lockwatch-access=" + good}) == (200, b'"user:42"')


@pytest.mark.parametrize(
    ("where", "prefix"), [("authorization", b"Bearer "), ("authorization", b"bearer  "), ("cookie", b"__Host-lockwatch-access=")]
)
async def test_no_hostile_token_gets_in_over_a_socket(served: dict[str, Served], where: str, prefix: bytes) -> None:
    table = [row for row in hostile() if row[1].strip() == row[1]]  # white space around a value is HTTP's, not the token's
    assert len(table) > 200
    found = await asyncio.gather(*[served[algorithm].ask("GET /me", {where: prefix + raw(text)}) for algorithm, text in table])
    wrong = [(status, str(text)[:60]) for (status, _), (_, text) in zip(found, table, strict=True) if status not in (400, 401)]
    assert not wrong
    assert sum(status == 401 for status, _ in found) > 150


async def test_no_hostile_token_is_refreshed_or_revoked_over_a_socket(served: dict[str, Served]) -> None:
    table = list(hostile())
    bodies = [json.dumps({"refresh_token": text if isinstance(text, str) else repr(text)}).encode() for _, text in table]
    asked = [
        served[algorithm].ask("POST /auth/refresh", {"content-type": b"application/json"}, body)
        for (algorithm, _), body in zip(table, bodies, strict=True)
    ]
    found = await asyncio.gather(*asked)
    assert {status for status, _ in found} == {400, 413}
    assert len({answer for status, answer in found if status == 400 and answer}) <= 2, (
        "one answer for all, and one for what cannot be read"
    )
    forms = [b"token=" + raw(text).hex().encode() for _, text in table]
    revoked = await asyncio.gather(
        *[
            served[algorithm].ask("POST /auth/revoke", {"content-type": b"application/x-www-form-urlencoded"}, form)
            for (algorithm, _), form in zip(table, forms, strict=True)
        ]
    )
    assert {status for status, _ in revoked} <= {200, 400, 413}, "RFC 7009: a token nobody knows is revoked; some are too long"
    for algorithm, site in served.items():
        good = token(forge.ring(algorithm).current).encode()
        assert (await site.ask("GET /me", {"authorization": b"Bearer " + good}))[0] == 200
