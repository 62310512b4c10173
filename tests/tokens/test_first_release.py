"""The lines about tokens that the README of 0.1.0 printed run as printed, on fakeredis and on a real Redis."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
import redis
import redis.asyncio

from lockwatch import TokenError
from lockwatch.tokens.encoding import decode

IMPORTS = """\
from lockwatch import JWTRotationManager, JWTConfig
"""
ROTATION = """\
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding, PrivateFormat, NoEncryption,
)
from lockwatch import JWTRotationManager, JWTConfig

# Generate once; persist the PEM in your secrets store
private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

manager = JWTRotationManager(
    redis_client=redis,
    config=JWTConfig(rsa_private_key_pem=pem),
)

pair = await manager.issue_token_pair(subject="user:42", claims={"role": "admin"})
# pair.access_token  — RS256 JWT, 15-minute TTL
# pair.refresh_token — RS256 JWT, 7-day TTL, hash stored in Redis

new_pair = await manager.rotate(pair.refresh_token)  # atomic swap via WATCH/MULTI/EXEC
"""
POSITIONAL = """\
jwt_mgr = JWTRotationManager(redis_client, JWTConfig(rsa_private_key_pem=pem))
"""
PLAN = """\
claims = await manager.verify_access(new_pair.access_token)
await manager.blacklist(claims["jti"])
"""
KINDS = ("fakeredis", "fakeredis.aioredis", "redis", "redis.asyncio", "redis.asyncio decoding")


@pytest.fixture(params=KINDS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """What the README calls `redis`."""
    kind, _, decoding = request.param.partition(" ")
    if kind.startswith("fakeredis"):
        fakeredis = import_module("fakeredis")
        made = getattr(fakeredis, "FakeAsyncRedis" if kind.endswith("aioredis") else "FakeRedis")(server=fakeredis.FakeServer())
    else:
        url = request.getfixturevalue("redis_server")
        library: Any = redis.asyncio if kind.endswith("asyncio") else redis
        made = library.Redis.from_url(url, decode_responses=bool(decoding))
    yield made
    closed = made.aclose() if hasattr(made, "aclose") else made.close()
    if inspect.isawaitable(closed):
        await closed


def patient(code: str) -> str:
    """The lines, for a server that may take longer than the 50 ms it has by default: a machine may be busy."""
    return re.sub(r"(JWTConfig\([^)]*\))", r"\1, store_timeout=5", code)


async def execute(code: str, namespace: dict[str, Any]) -> None:
    """Run lines that stand in an async function."""
    if not type(namespace["redis"]).__module__.startswith("fakeredis"):
        code = patient(code)
    waiting = eval(compile(code, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), namespace)
    if waiting is not None:
        await waiting


async def test_the_lines_run_as_printed(client: Any) -> None:
    names: dict[str, Any] = {"redis": client, "redis_client": client, "__name__": "example"}
    await execute(ROTATION, names)
    pair, new_pair, manager = names["pair"], names["new_pair"], names["manager"]
    for each, expired in ((pair, 900), (new_pair, 900)):
        header, payload = [json.loads(decode(part.encode())) for part in each.access_token.split(".")[:2]]
        assert (header["alg"], payload["sub"], payload["role"]) == ("RS256", "user:42", "admin")
        assert payload["exp"] - payload["iat"] == expired
    assert new_pair.refresh_token != pair.refresh_token
    await execute(IMPORTS + POSITIONAL, names)
    assert (await names["jwt_mgr"].verify_access(new_pair.access_token))["sub"] == "user:42"
    await execute(PLAN, names)
    with pytest.raises(TokenError, match="revoked"):
        await manager.verify_access(new_pair.access_token)
    for each in (manager, names["jwt_mgr"]):
        await each.aclose()
        each.close()


async def test_refresh_tokens_are_signed_as_its_comment_says_where_the_format_is_set(client: Any) -> None:
    names: dict[str, Any] = {"redis": client, "__name__": "example"}
    await execute(ROTATION.replace("rsa_private_key_pem=pem", 'rsa_private_key_pem=pem, refresh_format="jwt"'), names)
    for each in (names["pair"], names["new_pair"]):
        header, payload = [json.loads(decode(part.encode())) for part in each.refresh_token.split(".")[:2]]
        assert header["alg"] == "RS256"
        assert payload["exp"] - payload["iat"] == 7 * 86_400
    await names["manager"].aclose()
    names["manager"].close()
