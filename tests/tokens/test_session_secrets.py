"""What a reader of the store learns: nothing. And what a change of secrets costs: nothing."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.flow import run
from lockwatch.stores.memory import MemoryStore
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.keyfile import open_ring
from lockwatch.tokens.names import jti_of, tag_of
from lockwatch.tokens.outcomes import Grant, Outcome
from lockwatch.tokens.refresh import FOLLOWING, Format, Opaque, RefreshToken, hash_of
from lockwatch.tokens.refresh_jwt import Signed
from lockwatch.tokens.sealing import Sealer, Wraps, bounded, decoded, encoded
from lockwatch.tokens.sessions import Sessions
from tests.tokens.desk import SECRET, Desk, make_sessions

OLD, NEW = b"an old secret of thirty-two bytes", b"a new secret of thirty-two bytes"
PERSONAL = ("alice@example.org", "203.0.113.9", "Mozilla/5.0 (X11)", "admin-of-everything", "Alice's phone")


def dump(url: str) -> bytes:
    """Everything that stands in a server: keys, fields and values."""
    found: list[Any] = []
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            kind = client.type(key)
            found += [key, client.dump(key)]
            found += [part for pair in client.hgetall(key).items() for part in pair] if kind == b"hash" else [client.get(key)]
    return b"\n".join(found)


def shapes(secret: bytes) -> Iterator[bytes]:
    """What a secret may look like in a dump."""
    yield from (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret).rstrip(b"="))


# ------------------------------------------------------------ at rest
async def test_a_dump_holds_no_token_no_key_and_nothing_personal(redis_server: str) -> None:
    desk = Desk("redis", redis_server)
    tokens: list[str] = []
    for _ in range(3):
        login = await desk.login(PERSONAL[0], {"ip": PERSONAL[1], "agent": PERSONAL[2], "name": PERSONAL[4]}, role=PERSONAL[3])
        current = (await desk.refresh(login.refresh_token)).refresh_token
        await desk.refresh(login.refresh_token)
        tokens += [login.refresh_token, current]
    await desk.do(desk.sessions.revoke_token(tokens[0], desk.clock.now))
    await desk.do(desk.sessions.deny(jti_of(login.session[:16], os.urandom(12)), 900, desk.clock.now))
    found = dump(redis_server)
    assert found.count(b"sessions") > 0
    for token in tokens:
        for part in (token, token[57:81], token[81:]):
            assert part.encode() not in found
            assert decoded(part[-24:]) not in found
    for text in PERSONAL:
        assert not [shape for shape in shapes(text.encode()) if shape in found]
    assert not [shape for shape in shapes(SECRET) if shape in found]
    await desk.close()


async def test_every_key_has_a_lifetime(redis_server: str) -> None:
    desk = Desk("redis", redis_server)
    login = await desk.login()
    await desk.refresh(login.refresh_token)
    await desk.do(desk.sessions.deny("x", 900, desk.clock.now))
    with redis.Redis.from_url(redis_server) as client:
        assert len(list(client.scan_iter())) == 4
        assert all(client.pttl(key) > 0 for key in client.scan_iter())
    await desk.close()


async def test_the_seal_of_a_successor_goes_with_the_grace(redis_server: str) -> None:
    desk = Desk("redis", redis_server)
    desk.store.asked.clear()
    desk.store.clock.us = 0  # the server's own clock
    token = (await desk.login()).refresh_token
    await desk.refresh(token)
    with redis.Redis.from_url(redis_server) as client:
        (key,) = [key for key in client.scan_iter() if b"seal" in key]
        assert 2_000 < client.pttl(key) <= 11_000
    await desk.close()


async def test_a_revoked_session_that_was_the_last_leaves_soon(redis_server: str) -> None:
    desk = Desk("redis", redis_server)
    desk.store.clock.us = 0
    login = await desk.login()
    await desk.do(desk.sessions.revoke(login.session, 0.0))
    with redis.Redis.from_url(redis_server) as client:
        (key,) = [key for key in client.scan_iter() if b"sessions" in key]
        assert 0 < client.ttl(key) <= 3600
    await desk.close()


# ------------------------------------------------------------ sealing
def test_a_sealed_text_opens_for_its_session_and_purpose_only() -> None:
    sealer, nonce = Sealer([SECRET], "shop"), bytes(12)
    sealed = sealer.close_grant(Grant("user:42", {"a": [1, None, "ü"]}, 5), "s1", nonce)
    assert sealer.open_grant(sealed, "s1") == Grant("user:42", {"a": [1, None, "ü"]}, 5)
    assert sealer.open_grant(sealed, "s2") is None
    assert sealer.open_device(sealed, "s1") == {}
    assert Sealer([SECRET], "other").open_grant(sealed, "s1") is None
    for broken in ("", "-", "A", sealed[:-2], sealed + "AAAA", "é"):
        assert sealer.open_grant(broken, "s1") is None


def formats(secrets: tuple[bytes, ...], namespace: str = "shop") -> tuple[Format, Format]:
    """How one process writes refresh tokens, in either format. All processes have the same signing key."""
    config = JWTConfig(jwt_secret="s" * 32, algorithm="HS256")
    return Opaque(secrets, namespace), Signed(config, open_ring(config), Wraps(secrets, namespace))


@pytest.mark.parametrize("kind", [0, 1], ids=["opaque", "jwt"])
def test_a_successor_opens_for_the_token_before_it_only(kind: int) -> None:
    written = formats((OLD,))[kind]
    token = RefreshToken("t" * 16, "f" * 16, 7, "A" * 12, "s" * 24)
    text, other = written.write(token, 0.0), written.write(token._replace(secret="o" * 24), 0.0)
    successor = written.follow(token, text, hash_of(text), os.urandom(FOLLOWING), 0.0)
    said = written.read(successor.text, 0.0)
    assert said is not None
    assert (said.session, said.generation, said.parent) == (token.session, 8, hash_of(text)[:12])
    assert successor.hash == hash_of(successor.text)
    for process in (written, formats((NEW, OLD))[kind]):
        assert process.again(token, text, successor.seal) == successor.text
    assert formats((NEW,))[kind].again(token, text, successor.seal) is None
    assert formats((OLD,), "other")[kind].again(token, text, successor.seal) is None
    assert written.again(token._replace(secret="o" * 24), other, successor.seal) is None
    for broken in (
        "",
        "-",
        "A",
        successor.seal[:-1],
        "A" + successor.seal[1:] if successor.seal[0] != "A" else "B" + successor.seal[1:],
    ):
        assert written.again(token, text, broken) is None


@pytest.mark.parametrize("kind", [0, 1], ids=["opaque", "jwt"])
def test_the_same_token_is_followed_by_another_each_time(kind: int) -> None:
    written, token = formats((OLD,))[kind], RefreshToken("t" * 16, "f" * 16, 7, "A" * 12, "s" * 24)
    text = written.write(token, 0.0)
    made = [written.follow(token, text, hash_of(text), os.urandom(FOLLOWING), 0.0) for _ in range(50)]
    assert len({successor.text for successor in made}) == len({successor.seal for successor in made}) == 50


def test_claims_that_are_not_json_are_refused() -> None:
    for claims in ({"a": object()}, {"a": float("nan")}, {"a": b"x"}):
        with pytest.raises((TypeError, ValueError)):
            Sealer([SECRET], "shop").close_grant(Grant("u", claims), "s", bytes(12))


def test_what_is_kept_of_a_device_is_bounded() -> None:
    kept = bounded({f"{n}" * 50: "v" * 1000 for n in range(20)})
    assert len(kept) == 8
    assert max(map(len, kept)) == 32
    assert max(map(len, kept.values())) == 256


# ------------------------------------------------------------ tokens
fields = st.builds(
    RefreshToken,
    st.binary(min_size=12, max_size=12).map(encoded),
    st.binary(min_size=12, max_size=12).map(encoded),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=9, max_size=9).map(encoded),
    st.binary(min_size=18, max_size=18).map(encoded),
)


@given(fields)
def test_an_opaque_token_says_what_was_written(token: RefreshToken) -> None:
    tokens = Opaque([NEW, OLD], "shop")
    text = tokens.write(token)
    assert re.fullmatch("lwr1_[A-Za-z0-9_-]{100}", text)
    assert tokens.read(text) == token
    assert Opaque([OLD, NEW], "shop").read(text) == token
    assert Opaque([OLD], "shop").read(text) is None
    assert Opaque([NEW], "another").read(text) is None
    assert re.fullmatch("[A-Za-z0-9_-]{22}", hash_of(text))


@given(fields, st.integers(0, 99), st.integers(1, 63))
def test_a_token_with_any_character_changed_is_none_of_ours(token: RefreshToken, at: int, step: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tokens = Opaque([SECRET], "shop")
    text = tokens.write(token)
    other = alphabet[(alphabet.index(text[5 + at]) + step) % 64]
    assert tokens.read(text[: 5 + at] + other + text[6 + at :]) is None


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert Opaque([SECRET], "shop").read(text) is None
    assert Opaque([SECRET], "shop").read("lwr1_" + text) is None


@given(st.binary())
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = encoded(data)
    assert decoded(text) == data
    assert not any(decoded(other) for other in (text + "=", text + "\n", " " + text, text + "+"))


def test_an_id_leads_to_its_subject_and_nothing_else_does() -> None:
    tag = "T" * 16
    assert tag_of(jti_of(tag, bytes(12))) == tag
    for other in ("", "T" * 31, "T" * 33, "T" * 31 + "=", "{" * 32, "T" * 31 + "\n"):
        assert tag_of(other) is None


# ------------------------------------------------------------ changing the secret
class Shop:
    """Processes with different secrets, over one store."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def do(self, flow: Any) -> Any:
        return run(flow, self.store, self.store)

    def login(self, sessions: Sessions) -> Any:
        return self.do(sessions.issue(Grant("user:42", {"role": "admin"}), 0.0, os.urandom(64), {"ip": "203.0.113.9"}))

    def refresh(self, sessions: Sessions, token: str) -> Any:
        return self.do(sessions.rotate(token, 0.0, os.urandom(64)))


def test_sessions_live_through_a_change_of_the_secret() -> None:
    shop, old, both = Shop(), make_sessions(secrets=(OLD,)), make_sessions(secrets=(NEW, OLD))
    before = shop.login(old)
    found = shop.refresh(both, before.refresh_token)
    assert (found.outcome, found.grant.claims) == (Outcome.ROTATED, {"role": "admin"})
    after = shop.login(both)
    assert {s.id for s in shop.do(both.listed("user:42", 0.0))} == {before.session, after.session}
    assert all(s.device == {"ip": "203.0.113.9"} for s in shop.do(both.listed("user:42", 0.0)))
    assert shop.do(both.standing(before.session, "j")).live
    assert set(shop.do(both.revoke_subject("user:42", 0.0)).sessions) == {before.session, after.session}


def test_a_session_sealed_with_a_secret_that_is_gone_gives_nothing() -> None:
    shop, both, new = Shop(), make_sessions(secrets=(NEW, OLD)), make_sessions(secrets=(NEW,))
    before = shop.login(make_sessions(secrets=(OLD,)))
    current = shop.refresh(both, before.refresh_token).refresh_token
    found = shop.refresh(new, current)
    assert (found.outcome, found.refresh_token, found.grant) == (Outcome.UNKNOWN, "", None)
    assert shop.refresh(new, before.refresh_token).outcome is Outcome.UNKNOWN


def test_no_repr_shows_a_token() -> None:
    shop, sessions = Shop(), make_sessions()
    login = shop.login(sessions)
    found = shop.refresh(sessions, login.refresh_token)
    assert login.refresh_token not in repr(login)
    assert found.refresh_token not in repr(found)
