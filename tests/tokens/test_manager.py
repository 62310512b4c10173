"""`JWTRotationManager` as it is used by hand: every method in both colours, on every store."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from lockwatch import ConfigurationError, JWTConfig, JWTRotationManager, StoreError, TokenError, TokenPair
from lockwatch.errors import RefreshRefused, RefreshThrottled, SessionsFull
from lockwatch.event import Event
from lockwatch.tokens import rotation
from lockwatch.tokens.keyfile import new_pem
from lockwatch.tokens.rotation import Entry, KeyFile
from tests import servers

SECRET = "0123456789abcdef0123456789abcdef"
CLIENTS = ("memory", "fake", "fake-async", "sync", "async", "url", "decoding")
PEM = new_pem("ES256")


def client_of(kind: str, url: str) -> Any:
    if kind.startswith("fake"):
        fakeredis = import_module("fakeredis")
        return getattr(fakeredis, "FakeRedis" if kind == "fake" else "FakeAsyncRedis")(server=fakeredis.FakeServer())
    if kind in ("sync", "decoding"):
        return redis.Redis.from_url(url, decode_responses=kind == "decoding")
    return {"memory": None, "url": url, "async": redis.asyncio.Redis.from_url(url) if kind == "async" else None}[kind]


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Both:
    """A manager whose methods are called in one colour."""

    def __init__(self, manager: JWTRotationManager, colour: str) -> None:
        self.manager, self.colour = manager, colour

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        if self.colour == "sync":
            return getattr(self.manager, f"{method}_sync")(*args, **options)
        return await getattr(self.manager, method)(*args, **options)


def manager_of(client: Any = None, **options: Any) -> JWTRotationManager:
    options.setdefault("config", JWTConfig(rsa_private_key_pem=PEM, refresh_format=options.pop("refresh_format", "opaque")))
    return JWTRotationManager(redis_client=client, store_timeout=10, **options)


@pytest.fixture(params=[(client, colour) for client in CLIENTS for colour in ("sync", "async")], ids="-".join)
async def both(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[Both]:
    kind, colour = request.param
    client = client_of(kind, redis_server)
    made = Both(manager_of(client), colour)
    yield made
    await made.manager.aclose()
    made.manager.close()
    if kind in ("async", "fake-async"):
        await client.aclose()
    elif client is not None and kind != "url":
        client.close()


# ------------------------------------------------------------ a life
async def test_a_login_a_refresh_and_a_logout(both: Both) -> None:
    before = time.time()
    pair = await both("issue_token_pair", subject="user:42", claims={"role": "admin"}, device={"agent": "phone"})
    assert pair.token_type == "Bearer"
    assert 890 < pair.access_expires_at - before < 910
    assert 7 * 86_400 - 10 < pair.refresh_expires_at - before < 7 * 86_400 + 10
    claims = await both("verify_access", pair.access_token)
    assert (claims.subject, claims["role"], claims.auth_time) == ("user:42", "admin", int(claims.auth_time))
    new = await both("rotate", pair.refresh_token)
    assert new.refresh_token != pair.refresh_token
    renewed = await both("verify_access_token", new.access_token)
    assert (renewed["role"], renewed.family, renewed.auth_time) == ("admin", claims.family, claims.auth_time)
    assert renewed.jti != claims.jti
    again = await both("rotate", pair.refresh_token)
    assert again.refresh_token == new.refresh_token
    (session,) = await both("sessions", "user:42")
    assert (session.id, session.device) == (claims.family, {"agent": "phone"})
    await both("revoke_token", pair.refresh_token)
    for token in (pair, new, again):
        with pytest.raises(TokenError) as caught:
            await both("verify_access", token.access_token)
        assert caught.value.code == "revoked"
        with pytest.raises(RefreshRefused):
            await both("rotate", token.refresh_token)


async def test_one_access_token_is_denied_by_its_id_or_by_itself(both: Both) -> None:
    pair = await both("issue_token_pair", "user:42")
    other = await both("rotate", pair.refresh_token)
    claims = await both("verify_access", pair.access_token)
    await both("blacklist", claims.jti)
    await both("blacklist_access_token", other.access_token)
    for token in (pair.access_token, other.access_token):
        with pytest.raises(TokenError, match="revoked"):
            await both("verify_access", token)
    assert len(await both("sessions", "user:42")) == 1
    with pytest.raises(TokenError):
        await both("blacklist_access_token", "no token")


async def test_sessions_are_ended_one_by_one_or_all_together(both: Both) -> None:
    pairs = [await both("issue_token_pair", 42) for _ in range(3)]
    first, *_ = await both("sessions", 42)
    assert (await both("revoke_family", first.id)).sessions == (first.id,)
    assert len(await both("sessions", 42)) == 2
    assert len((await both("revoke_subject", 42)).sessions) == 2
    for pair in pairs:
        with pytest.raises(TokenError):
            await both("verify_access", pair.access_token)


# ------------------------------------------------------------ what is refused
@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_why_a_refresh_is_refused(form: str) -> None:
    told: list[Event] = []
    manager = manager_of(refresh_format=form, on_event=told.append, max_sessions=1)
    old = await manager.issue_token_pair("user:42")
    pair = await manager.issue_token_pair("user:42")
    second = await manager.rotate(pair.refresh_token)
    for _ in range(64):
        await manager.rotate(pair.refresh_token)
    with pytest.raises(RefreshThrottled) as slowed:
        await manager.rotate(pair.refresh_token)
    assert (slowed.value.status, slowed.value.code) == (429, "throttled")
    for token, code in (
        (old.refresh_token, "revoked"),
        ("lwr1_x", "unknown_session"),
        (pair.access_token, "unknown_session"),
        (None, "unknown_session"),
    ):
        with pytest.raises(RefreshRefused) as refused:
            await manager.rotate(token)  # type: ignore[arg-type]
        assert (refused.value.status, refused.value.code) == (400, code)
    with pytest.raises(TokenError):
        await manager.verify_access(second.refresh_token)
    outcomes = [event.details["outcome"] for event in told if event.action == "token.refreshed"]
    assert outcomes == ["rotated", *["replay"] * 64, "throttled", "revoked"]


@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_reuse_ends_the_session_and_is_told_and_logged_without_the_token(form: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []
    config = JWTConfig(rsa_private_key_pem=PEM, refresh_format=form, refresh_grace_seconds=0)
    manager = manager_of(config=config, on_event=told.append)
    pair = await manager.issue_token_pair("user:42", device={"agent": "phone"})
    new = await manager.rotate(pair.refresh_token)
    with caplog.at_level(logging.WARNING), pytest.raises(RefreshRefused) as caught:
        await manager.rotate(pair.refresh_token)
    assert caught.value.code == "reused"
    (event,) = [event for event in told if event.action == "token.reused"]
    assert (event.user, event.details["last_device"]) == ("user:42", {"agent": "phone"})
    assert "the session has ended" in caplog.text
    assert not [word for word in ("user:42", pair.refresh_token, new.refresh_token) if word in caplog.text]
    with pytest.raises(TokenError):
        await manager.verify_access(new.access_token)


async def test_a_full_subject_is_refused_where_the_settings_say_so() -> None:
    manager = manager_of(max_sessions=1, when_full="refuse")
    await manager.issue_token_pair("user:42")
    with pytest.raises(SessionsFull) as caught:
        await manager.issue_token_pair("user:42")
    assert (caught.value.status, caught.value.code) == (403, "too_many_sessions")


@pytest.mark.parametrize("claims", [{"sub": "admin"}, {"exp": 9_999_999_999}, {"sid": "x"}, {"a": object()}, {"a": "x" * 9000}])
async def test_claims_that_cannot_be_said_begin_no_session(claims: dict[str, Any]) -> None:
    manager = manager_of()
    with pytest.raises(ConfigurationError):
        await manager.issue_token_pair("user:42", claims)
    assert await manager.sessions("user:42") == ()


@pytest.mark.parametrize("subject", [None, "", True, 1.5, "two\nlines"])
async def test_what_is_no_subject_is_refused_everywhere(subject: Any) -> None:
    manager = manager_of()
    for method in (manager.issue_token_pair, manager.sessions, manager.revoke_subject):
        with pytest.raises(ConfigurationError, match="subject"):
            await method(subject)


async def test_an_outage_is_a_store_error_and_no_logout() -> None:
    manager = JWTRotationManager(f"redis://127.0.0.1:{servers.free_port()}/0", JWTConfig(rsa_private_key_pem=PEM))
    with pytest.raises(StoreError):
        await manager.issue_token_pair("user:42")
    with pytest.raises(StoreError):
        manager.issue_token_pair_sync("user:42")
    with pytest.raises(RefreshRefused):
        await manager.rotate("lwr1_forged")
    await manager.aclose()


async def test_a_store_that_does_not_answer_is_asked_now_and_then_only_and_found_again(caplog: pytest.LogCaptureFixture) -> None:
    server = servers.start_redis()
    manager = JWTRotationManager(
        f"redis://127.0.0.1:{server.port}/0", JWTConfig(rsa_private_key_pem=PEM), secret_key=SECRET, store_timeout=1.0
    )
    pair = await manager.issue_token_pair("user:42")
    manager.sessions_sync("user:42")
    server.popen.send_signal(signal.SIGSTOP)
    said = [await failure(manager.rotate(pair.refresh_token)) for _ in range(6)]
    assert "not asked" not in said[0]
    assert "not asked" in said[-1]
    with pytest.raises(StoreError, match="not asked"):
        manager.rotate_sync(pair.refresh_token)
    server.popen.send_signal(signal.SIGCONT)
    ends = time.monotonic() + 30
    while await failure(manager.rotate(pair.refresh_token)):
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)
    told = [record.levelname for record in caplog.records if "the store at" in record.message]
    assert told in (["ERROR"], ["ERROR", "WARNING"])
    await manager.aclose()
    manager.close()
    server.stop()


async def failure(refresh: Awaitable[TokenPair]) -> str:
    """What a refresh fails with; nothing where it does not."""
    try:
        await refresh
    except StoreError as error:
        return str(error)
    return ""


# ------------------------------------------------------------ what becomes of tokens
async def test_everything_that_becomes_of_tokens_is_told_once_and_without_a_token(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []
    now = [1_800_000_000.0]
    config = JWTConfig(rsa_private_key_pem=PEM, refresh_grace_seconds=0)
    manager = manager_of(config=config, on_event=told.append, clock=lambda: now[0])
    pair = await manager.issue_token_pair("user:42", device={"agent": "phone"})
    new = await manager.rotate(pair.refresh_token, device={"agent": "laptop"})
    with pytest.raises(RefreshRefused):
        await manager.rotate(pair.refresh_token)
    with pytest.raises(RefreshRefused):
        manager.rotate_sync(new.refresh_token)
    with pytest.raises(RefreshRefused):
        await manager.rotate("lwr1_forged")
    session = told[0].session
    assert [(e.action, e.outcome, e.user, e.session) for e in told] == [
        ("token.issued", "success", "user:42", session),
        ("token.refreshed", "success", "user:42", session),
        ("token.reused", "refused", "user:42", session),
        ("token.refreshed", "refused", None, session),
    ]
    assert {(e.kind, e.time_us) for e in told} == {("auth", 1_800_000_000_000_000)}
    assert told[2].details["last_device"] == {"agent": "laptop"}
    assert "two parties hold copies" in told[2].reasons[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not [e for e in told if pair.refresh_token in repr(e) or new.refresh_token in repr(e)]


async def test_revocations_are_told_with_what_they_ended() -> None:
    told: list[Event] = []
    manager = manager_of(on_event=told.append)
    pairs = [await manager.issue_token_pair("user:42") for _ in range(3)]
    claims = await manager.verify_access(pairs[0].access_token)
    told.clear()
    await manager.blacklist_access_token(pairs[0].access_token)
    await manager.revoke_token(pairs[0].refresh_token, wait=0.01)
    manager.revoke_family_sync((await manager.verify_access(pairs[1].access_token)).family or "")
    await manager.revoke_subject("user:42")
    await manager.revoke_token("lwr1_forged")
    assert [(e.action, e.details["what"], len(e.details["ended"])) for e in told] == [
        ("token.revoked", "access_token", 0),
        ("token.revoked", "session", 1),
        ("token.revoked", "session", 1),
        ("token.revoked", "subject", 1),
    ]
    assert (told[0].target, told[1].session, told[3].user) == (claims.jti, claims.family, "user:42")
    assert [e.details.get("durable", "not asked") for e in told] == ["not asked", False, "not asked", "not asked"]


async def test_a_revocation_that_the_store_did_not_hear_is_told_as_a_failure() -> None:
    told: list[Event] = []
    manager = JWTRotationManager(
        f"redis://127.0.0.1:{servers.free_port()}/0", JWTConfig(rsa_private_key_pem=PEM), on_event=told.append
    )
    with pytest.raises(StoreError):
        await manager.revoke_subject("user:42")
    assert [(e.action, e.outcome, e.user) for e in told] == [("token.revoked", "failure", "user:42")]
    await manager.aclose()


# ------------------------------------------------------------ claims at a refresh
async def test_claims_are_read_again_at_every_refresh_and_a_disabled_subject_gets_none() -> None:
    roles: dict[str, Any] = {"user:42": {"roles": ["admin"]}}
    manager = manager_of(load_claims=roles.get)
    pair = await manager.issue_token_pair("user:42", {"roles": ["user"], "plan": "pro"})
    new = await manager.rotate(pair.refresh_token)
    claims = await manager.verify_access(new.access_token)
    assert (claims.roles, claims["plan"]) == ({"admin"}, "pro")
    roles.clear()
    with pytest.raises(RefreshRefused) as caught:
        await manager.rotate(new.refresh_token)
    assert caught.value.code == "revoked"
    with pytest.raises(TokenError):
        await manager.verify_access(new.access_token)
    assert manager.sessions_sync("user:42") == ()


async def test_a_loader_may_wait_where_the_caller_may() -> None:
    async def load(subject: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        return {"roles": [subject]} if subject == "user:42" else None

    manager = manager_of(load_claims=load)
    pair = await manager.issue_token_pair("user:42")
    assert (await manager.verify_access((await manager.rotate(pair.refresh_token)).access_token)).roles == {"user:42"}
    unknown = await manager.issue_token_pair("user:43")
    with pytest.raises(RefreshRefused):
        await manager.rotate(unknown.refresh_token)


def test_a_loader_that_waits_is_refused_where_the_caller_cannot() -> None:
    async def load(subject: str) -> None:
        return None

    manager = manager_of(load_claims=load)
    pair = manager.issue_token_pair_sync("user:42")
    with pytest.raises(ConfigurationError, match="async"):
        manager.rotate_sync(pair.refresh_token)


# ------------------------------------------------------------ keys and secrets
async def test_processes_with_the_same_key_share_sessions_and_others_do_not(redis_server: str) -> None:
    one, other, stranger = manager_of(redis_server), manager_of(redis_server), manager_of(redis_server, namespace="another")
    pair = await one.issue_token_pair("user:42")
    new = await other.rotate(pair.refresh_token)
    assert (await one.verify_access(new.access_token)).subject == "user:42"
    with pytest.raises(RefreshRefused):
        await stranger.rotate(new.refresh_token)
    with pytest.raises(TokenError):
        await stranger.verify_access(new.access_token)
    for each in (one, other, stranger):
        await each.aclose()


@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_sessions_outlive_a_replaced_key_in_a_key_file(tmp_path: Path, form: str) -> None:
    path, clock = tmp_path / "keys.json", Clock()
    first, second = PEM, new_pem("ES256")
    kids = [JWTRotationManager(config=JWTConfig(rsa_private_key_pem=pem))._issuing.ring.current.kid for pem in (first, second)]

    def write(*states: tuple[int, str]) -> None:
        entries = [Entry(kids[n], "ES256", state, 0.0, (first, second)[n]) for n, state in states]  # type: ignore[arg-type]
        path.write_text(rotation.write(KeyFile(tuple(entries), token_seconds=7 * 86_400)))

    write((0, "current"))
    manager = manager_of(config=JWTConfig(rsa_private_key_path=path, refresh_format=form), clock=clock)
    pair = await manager.issue_token_pair("user:42")
    write((1, "current"), (0, "retiring"))
    clock.now += 5
    new = await manager.rotate(pair.refresh_token)
    claims = await manager.verify_access(new.access_token)
    assert claims.subject == "user:42"
    assert (await manager.verify_access(pair.access_token)).subject == "user:42"
    assert manager._issuing.ring.current.kid == kids[1]
    assert len(await manager.sessions("user:42")) == 1


async def test_an_own_secret_keeps_sessions_when_every_key_is_replaced(redis_server: str) -> None:
    before = manager_of(redis_server, secret_key="an old secret of ours")
    pair = await before.issue_token_pair("user:42", {"role": "admin"})
    config = JWTConfig(rsa_private_key_pem=new_pem("ES256"))
    after = manager_of(redis_server, config=config, secret_key=("a new secret of ours", "an old secret of ours"))
    new = await after.rotate(pair.refresh_token)
    assert (await after.verify_access(new.access_token))["role"] == "admin"
    for each in (before, after):
        await each.aclose()


def test_a_weak_secret_is_refused_and_not_quoted() -> None:
    for secret in ("short", (), ("",)):
        with pytest.raises(ConfigurationError, match="16 characters") as caught:
            manager_of(secret_key=secret)
        assert "short" not in str(caught.value)


async def test_a_secret_signs_both_tokens() -> None:
    manager = JWTRotationManager(config=JWTConfig(jwt_secret=SECRET))
    pair = await manager.issue_token_pair("user:42")
    assert (await manager.verify_access((await manager.rotate(pair.refresh_token)).access_token)).subject == "user:42"


async def test_no_repr_shows_a_token() -> None:
    pair = await manager_of().issue_token_pair("user:42")
    assert pair.access_token not in repr(pair)
    assert pair.refresh_token not in repr(pair)
