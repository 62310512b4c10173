"""A refresh runs as a script of its own where it travels alone, and in that of all where others come along: both say the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import pytest
import redis

from lockwatch.errors import CallFailed, StoreError, StoreFull
from lockwatch.flow import Call, Reply, words_of
from lockwatch.stores import wire
from lockwatch.stores.address import Address
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import PATIENT, START, Line
from tests.tokens.desk import SECOND

GRACE, IDLE, ABSOLUTE, TOMBSTONE, MOST = 10 * SECOND, 1000 * SECOND, 3000 * SECOND, 500 * SECOND, 3
FAMILY: Final = "f" * 16
STEPS: Final = (0, 1, GRACE - 1, GRACE, GRACE + 1, 100 * SECOND, IDLE - 1, IDLE, -1, -SECOND, -20 * SECOND)


def named(number: int) -> str:
    """The hash of a token, as the store knows it."""
    return f"{number:022d}"


def issue(name: str, now: int) -> Call:
    """A login."""
    return Call("issue", (f"{name}:{{t}}",), (now, IDLE, ABSOLUTE, 5, 1, TOMBSTONE), words=(FAMILY, named(0), "grant", "device"))


def rotate(name: str, now: int, token: int, parent: int, successor: int, grace: int, healing: int, device: str) -> Call:
    """A refresh with the token of a generation."""
    words = (FAMILY, named(token), named(parent)[:12], named(successor), f"seal{successor}", device)
    return Call("rotate", (f"{name}:{{t}}", f"{name}-seal:{{t}}"), (now, token, grace, MOST, IDLE, TOMBSTONE, healing), words=words)


def history(seed: int) -> list[Callable[[str], Call]]:
    """Logins and refreshes with old, current and future tokens, under a clock that also steps back."""
    calls: list[Callable[[str], Call]] = []
    draw, now = random.Random(seed), START
    grace, successor = draw.choice([0, GRACE]), 0
    for turn in range(40):
        now += draw.choice(STEPS)
        if turn % 10 == 0:
            successor = 0
            calls.append(lambda name, now=now: issue(name, now))
            continue
        token = max(0, successor - draw.choice([0, 0, 0, 0, 0, 1, 1, 1, 2]))
        if draw.random() < 0.05:
            token += draw.choice([1, 2])
        successor = token + 1 if draw.random() < 0.9 else successor
        healing, device = draw.choice([0, 1, 2]), draw.choice(["-", "-", "another"])
        arguments = (now, token, max(0, token - 1), token + 1, grace, healing, device)
        calls.append(lambda name, arguments=arguments: rotate(name, *arguments))
    return calls


def told(reply: Reply | StoreError) -> tuple[object, ...]:
    """A reply, to compare."""
    assert not isinstance(reply, StoreError), reply
    return (*reply, *words_of(reply))


@pytest.mark.parametrize("seed", range(25))
def test_both_scripts_and_the_memory_say_the_same(seed: int, redis_server: str) -> None:
    store, together, memory = RedisStore(address_of(redis_server), PATIENT), Line(redis_server), MemoryStore()
    seen = set()
    for call in history(seed):
        alone = told(store.call(call("alone")))
        assert alone == told(together.call([call("together"), Call("peek", ("x",), (0,))])[0])
        assert alone == told(memory.call(call("alone")))
        seen.add(alone[0])
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        assert client.hgetall("alone:{t}") == client.hgetall("together:{t}")
        assert client.get("alone-seal:{t}") == client.get("together-seal:{t}")
        for name in ("", "-seal"):
            lives = [client.pttl(f"{kind}{name}:{{t}}") for kind in ("alone", "together")]
            assert abs(lives[0] - lives[1]) < 60_000  # they were made one after the other
            assert min(lives) == -2 or min(lives) > 0
    assert len(seen) > 3
    store.close()
    together.close()


def test_whatever_is_refreshed_lives_in_redis_as_long_as_its_session(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT)
    store.call(issue("alone", 0))
    with redis.Redis.from_url(redis_server) as client:
        for turn in range(5):
            assert store.call(rotate("alone", 0, turn, 0, turn + 1, 0, 0, "-"))[0] == 1
            assert IDLE / 1000 - 60_000 < client.pttl("alone:{t}") <= IDLE / 1000 * 17 / 16 + 1
            client.pexpire("alone:{t}", 100_000 + turn)  # the next refresh makes it last again
    store.close()


def test_a_refresh_alone_and_among_others_are_two_scripts_and_both_are_sent_when_unknown(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT)
    with redis.Redis.from_url(redis_server) as client:
        for _ in range(2):
            client.script_flush()
            assert store.call(rotate("alone", 0, 0, 0, 1, GRACE, 0, "-"))[0] == 9
    assert wire.source(alone=True) != wire.source()
    store.close()


def test_a_key_of_another_kind_fails_the_refresh_and_changes_nothing(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT)
    with redis.Redis.from_url(redis_server) as client:
        client.set("alone:{t}", "a text", ex=60)
        with pytest.raises(CallFailed, match="WRONGTYPE"):
            store.call(rotate("alone", 0, 0, 0, 1, GRACE, 0, "-"))
        assert client.get("alone:{t}") == b"a text"
        assert not client.exists("alone-seal:{t}")
    store.close()


def limited(url: str, *rules: str) -> RedisStore:
    """A store that may do what some rules say."""
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">narrow", "~*", *rules)
    address = address_of(url)
    assert isinstance(address, Address)
    return RedisStore(Address(address.kind, {**address.arguments, "username": "narrow", "password": "narrow"}), PATIENT)


@pytest.mark.parametrize("command", ["set", "hset"])
def test_a_write_that_is_refused_leaves_the_session_as_it_was(command: str, redis_server: str) -> None:
    store, narrow = RedisStore(address_of(redis_server), PATIENT), limited(redis_server, "+@all", f"-{command}")
    store.call(issue("alone", 0))
    refresh = rotate("alone", 0, 0, 0, 1, GRACE, 0, "-")
    try:
        with redis.Redis.from_url(redis_server) as client:
            before = client.hgetall("alone:{t}")
            with pytest.raises(StoreError):
                narrow.call(refresh)
            assert client.hgetall("alone:{t}") == before
            assert store.call(refresh)[0] == 1
            client.execute_command("ACL", "DELUSER", "narrow")
    finally:
        narrow.close()
        store.close()


def test_a_full_store_refuses_a_refresh_and_changes_nothing(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT)
    store.call(issue("alone", 0))
    refresh = rotate("alone", 0, 0, 0, 1, GRACE, 0, "-")
    with redis.Redis.from_url(redis_server) as client:
        store.call(rotate("alone", 0, 7, 0, 1, GRACE, 0, "-"))  # ahead: the script is known from now on
        before: Any = client.hgetall("alone:{t}")
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(StoreFull):
                store.call(refresh)
            assert client.hgetall("alone:{t}") == before
        finally:
            client.config_set("maxmemory", "0")
        assert store.call(refresh)[0] == 1
    store.close()
