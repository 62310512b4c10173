"""When keys of a third party are fetched, and that no token causes it; fetching itself, from a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.errors import IssuerError, KeysUnavailable, TokenError
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.fetch import fetch, fetch_keys
from lockwatch.tokens.issuers import Issuer
from lockwatch.tokens.remote import COOL_DOWN, LAST_RETRY, RemoteKeys
from lockwatch.tokens.trust import RemoteIssuer, Trust
from lockwatch.tokens.verify import split
from tests.tokens import forge
from tests.tokens.forge import NOW, token
from tests.tokens.test_issuers import API, TIMES, published, signing

JOSE = engine_named("python-jose")
KEYS = published()
BODY = json.dumps({"keys": [{"kid": "k=1", "use": "sig", **(forge.ring().current.jwk or {})}]}).encode()


# --------------------------------------------------------------- state machine
def test_keys_are_fetched_before_the_first_request_and_again_when_due() -> None:
    state = RemoteKeys()
    assert state.is_due(0)
    assert not state.usable(NOW)
    state = state.fetched(KEYS, NOW, 600)
    assert (state.is_due(NOW + 599), state.is_due(NOW + 600)) == (False, True)


@pytest.mark.parametrize(("max_age", "fresh"), [(None, 300), (0, 300), (10, 300), (3600, 3600), (10**9, 86_400)])
def test_how_long_keys_are_fresh_is_bounded(max_age: float | None, fresh: float) -> None:
    assert RemoteKeys().fetched(KEYS, NOW, max_age).due == NOW + fresh


def test_failures_keep_the_keys_for_a_day_and_are_repeated_ever_later() -> None:
    state, now, waits = RemoteKeys().fetched(KEYS, NOW), NOW + 300.0, []
    while now < NOW + 300 + 86_400:
        assert state.usable(now)
        state = state.failed(now)
        waits.append(state.due - now)
        now = state.due
    assert not state.usable(now)
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert max(waits) == LAST_RETRY
    assert state.fetched(KEYS, now).usable(now)


def test_an_unknown_kid_brings_the_fetch_forward_but_not_too_close() -> None:
    state = RemoteKeys().fetched(KEYS, NOW, 3600)
    assert state.missed(NOW + 1).due == NOW + COOL_DOWN
    assert state.missed(NOW + 100).due == NOW + 100
    assert state.missed(NOW + 1).missed(NOW + 2).due == NOW + COOL_DOWN


def test_an_unknown_kid_does_not_shorten_the_wait_after_a_failure() -> None:
    state = RemoteKeys().fetched(KEYS, NOW)
    for _ in range(8):
        state = state.failed(NOW + 300)
    assert state.due == NOW + 300 + LAST_RETRY
    assert state.missed(NOW + 400) == state


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["good", "unknown"]), min_size=50, max_size=300), st.floats(0.1, 5))
def test_a_flood_of_unknown_kids_causes_few_fetches(kinds: list[str], pause: float) -> None:
    remote = RemoteIssuer(Issuer("https://a.example.com", audience=API))
    now, fetches = float(NOW), 0
    good, unknown = [
        split(
            token(signing(kid=kid), None, {"iss": "https://a.example.com", "aud": API, "scope": "x", **TIMES, "exp": NOW + 10_000})
        )
        for kid in ("k=1", "other")
    ]
    for kind in kinds:
        if remote.is_due(now):
            fetches += 1
            remote.fetched(KEYS, now, 3600)
        if kind == "unknown":
            with pytest.raises(TokenError) as caught:
                remote.verify_parts(unknown, now)
            assert caught.value.code == "unknown_key"
        else:
            assert remote.verify_parts(good, now)
        now += pause
    assert fetches <= 1 + (now - NOW) / COOL_DOWN


def test_keys_that_are_too_old_are_not_used() -> None:
    issuer = Issuer("https://a.example.com", audience=API)
    trust = Trust(None, [issuer])
    trust.fetched(issuer.url, KEYS, NOW)
    text = token(signing(), None, {"iss": issuer.url, "aud": API, "scope": "x", "sub": "u", "iat": NOW, "exp": NOW + 200_000})
    for n in range(100):
        trust.failed(issuer.url, NOW + 300 + n)
    assert trust.verify(text, NOW + 300 + 86_399)
    with pytest.raises(KeysUnavailable):
        trust.verify(text, NOW + 300 + 86_400)


# ---------------------------------------------------------------------- fetching
Answer = Callable[[str, int], bytes]


@asynccontextmanager
async def serving(answer: Answer, delay: float = 0) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers `answer(path, port)` byte by byte as given, and the requests it got."""
    seen: list[str] = []
    tasks: list[asyncio.Task[Any]] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        writers.append(writer)
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(request)
        try:
            if delay:
                await asyncio.sleep(delay)
            writer.write(answer(request.split(" ")[1], port))
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*[writer.wait_closed() for writer in writers], return_exceptions=True)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False)


async def refused(answer: Answer, shown: str, **options: Any) -> list[str]:
    async with serving(answer, options.pop("delay", 0)) as (url, seen), client() as http_client:
        with pytest.raises(IssuerError, match=shown):
            await fetch(http_client, f"{url}/keys", **options)
    return seen


async def test_keys_are_fetched_with_their_age() -> None:
    async with serving(lambda *_: http("200 OK", BODY, "cache-control: public, max-age=600")) as (url, seen), client() as c:
        keys, max_age = await fetch_keys(c, Issuer("https://a.example.com", audience=API, jwks_url=f"{url}/keys"), JOSE)
    assert ([*keys], max_age) == (["k=1"], 600)
    assert "accept-encoding: identity" in seen[0].lower()


async def test_keys_are_found_by_discovery() -> None:
    def answer(path: str, port: int) -> bytes:
        if path == "/realm/.well-known/openid-configuration":
            url = f"http://127.0.0.1:{port}"
            return http("200 OK", json.dumps({"issuer": f"{url}/realm", "jwks_uri": f"{url}/k"}).encode())
        return http("200 OK", BODY)

    async with serving(answer) as (url, seen), client() as c:
        keys, max_age = await fetch_keys(c, Issuer(f"{url}/realm", audience=API), JOSE)
    assert ([*keys], max_age, len(seen)) == (["k=1"], None, 2)


async def test_redirects_are_followed_within_one_origin_only() -> None:
    def within(path: str, _: int) -> bytes:
        return http("302 Found", b"", "location: /other") if path == "/keys" else http("200 OK", BODY)

    async with serving(within) as (url, _), client() as c:
        assert (await fetch(c, f"{url}/keys"))[0] == BODY
    for target in (
        "http://127.0.0.2:1/",
        "https://attacker.example/",
        "//attacker.example/",
        "http://localhost:{port}/",
        "file:///etc/passwd",
    ):
        seen = await refused(lambda _, port, to=target: http("302 Found", b"", f"location: {to.format(port=port)}"), "another host")
        assert len(seen) == 1
    assert len(await refused(lambda *_: http("302 Found", b"", "location: /keys"), "redirects more than 3 times")) == 4


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "204 No Content", "401 Unauthorized"])
async def test_another_answer_is_refused(status: str) -> None:
    await refused(lambda *_: http(status), f"answers {status[:3]}")


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    def endless(*_: Any) -> bytes:
        return b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * 2_000_000

    await refused(endless, "sends more than 262144 bytes")


async def test_a_compressed_answer_is_not_unpacked() -> None:
    import gzip

    body = gzip.compress(b" " * 100_000_000, 1)[:200_000]
    async with serving(lambda *_: http("200 OK", body, "content-encoding: gzip")) as (url, _), client() as c:
        received, _age = await fetch(c, f"{url}/keys")
        assert received == body
        with pytest.raises(IssuerError, match="no strict JSON"):
            await fetch_keys(c, Issuer("https://a.example.com", audience=API, jwks_url=f"{url}/keys"), JOSE)


async def test_a_slow_or_silent_server_is_given_up() -> None:
    await refused(lambda *_: http("200 OK", BODY), "within 0.2 seconds", delay=30, timeout=0.2)


async def test_broken_http_and_nobody_there_are_errors_of_ours() -> None:
    await refused(lambda *_: b"nonsense\r\n\r\n", "cannot be fetched")
    await refused(lambda *_: b"", "cannot be fetched")
    async with client() as c:
        for url in (
            "http://127.0.0.1:1/keys",
            "http://attacker.example/keys",
            "file:///etc/passwd",
            "https://user:hunter2@a.example",
        ):
            with pytest.raises(IssuerError, match="cannot be fetched") as caught:
                await fetch(c, url)
            assert "hunter2" not in str(caught.value)
