"""Who may: a user with the rights the documentation names and no others. And how else a server is reached: a Unix socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import pytest
import redis

import lockwatch
from lockwatch.errors import StoreError
from lockwatch.flow import Call, Reply
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites
from tests.topology.sites import Site

ROOT = Path(__file__).parents[2]
PASSWORD = "p@ss/w:rd %?#&+\u00fc"
HOUR = 3600 * SECOND
ONE, TWO = Ask("lockwatch:1:sw:{s}:a", 5, HOUR), Ask("lockwatch:1:sw:{s}:b", 5, HOUR)
Asking: TypeAlias = Callable[[object, Call], Awaitable[Reply]]


@pytest.fixture(params=["redis", "redis-async"])
def reply(request: pytest.FixtureRequest) -> Asking:
    """What a store of its own answers to a call."""

    async def ask(source: object, call: Call) -> Reply:
        if request.param == "redis":
            store = RedisStore(address_of(source), 2.0)
            try:
                return store.call(call)
            finally:
                store.close()
        other = AsyncRedisStore(address_of(source), 2.0)
        try:
            return await other.call(call)
        finally:
            await other.aclose()

    return ask


def documented(extra: str = "") -> list[str]:
    """The rights of the ACL line in the documentation, and those it adds for a topology."""
    page = (ROOT / "docs" / "topologies.md").read_text("utf-8")
    line = next(line for line in page.splitlines() if line.startswith("user lockwatch on "))
    rights = line.split()[4:]
    return [*rights, *extra.split()]


def test_the_documented_commands_are_those_the_scripts_call() -> None:
    sources = "".join(path.read_text("utf-8") for path in (Path(lockwatch.__file__).parent / "stores" / "lua").glob("*.lua"))
    called = set(re.findall(r"call(?:_redis)?\('([A-Z]+)'", sources))
    allowed = {right[1:].upper() for right in documented() if right.startswith("+") and "|" not in right}
    assert allowed == called | {"EVALSHA", "EVAL", "SELECT"}


def let_in(port: int, extra: str = "") -> None:
    """Make the user of the documentation."""
    sites.ask(port, "ACL", "SETUSER", "lockwatch", "reset", "on", f">{PASSWORD}", *documented(extra))


@pytest.fixture
def guarded() -> Iterator[int]:
    """A server whose default user is off."""
    process = servers.start_redis()
    let_in(process.port)
    sites.ask(process.port, "ACL", "SETUSER", "admin", "on", ">admin", "~*", "&*", "+@all")
    sites.ask(process.port, "ACL", "SETUSER", "default", "off")
    yield process.port
    process.stop()


def login(scheme: str = "redis") -> str:
    return f"{scheme}://lockwatch:{quote(PASSWORD, safe='')}@"


async def test_a_user_with_the_documented_rights_is_enough(guarded: int, reply: Asking) -> None:
    for source in (f"{login()}127.0.0.1:{guarded}/0", f"{login('valkey')}127.0.0.1:{guarded}/2"):
        assert (await reply(source, admit(0, ONE, TWO)))[0] == 1
        assert (await reply(source, admit(0, ONE, script="peek")))[1] == 4
        assert list(await reply(source, Call("reset", (ONE.key, TWO.key), ()))) == [2]
        assert list(await reply(source, Call("secret", ("lockwatch:1:secret",), (60_000, 7)))) == [7]
    client = redis.Redis(port=guarded, username="lockwatch", password=PASSWORD)
    assert (await reply(client, admit(0, ONE)))[1] == 4


async def test_nothing_was_asked_for_beyond_the_documented_rights(guarded: int, reply: Asking) -> None:
    await reply(f"{login()}127.0.0.1:{guarded}/0", admit(0, ONE))
    with sites.client(guarded, username="admin", password="admin") as client:
        assert client.acl_log() == []
        client.script_flush()
    assert (await reply(f"{login()}127.0.0.1:{guarded}/0", admit(0, ONE)))[1] == 3


async def test_keys_of_others_are_out_of_reach(guarded: int, reply: Asking) -> None:
    with pytest.raises(StoreError, match=r"NOPERM|NoPermission"):
        await reply(f"{login()}127.0.0.1:{guarded}/0", admit(0, Ask("shop:1:sw:{s}:a", 5, HOUR)))


@pytest.mark.parametrize("source", ["redis://lockwatch:hunter2@127.0.0.1:{port}", "redis://:hunter2@127.0.0.1:{port}"])
async def test_a_wrong_password_is_a_store_error_that_does_not_show_it(guarded: int, reply: Asking, source: str) -> None:
    with pytest.raises(StoreError, match="AuthenticationError") as caught:
        await reply(source.format(port=guarded), admit(0, ONE))
    assert "hunter2" not in str(caught.value)


async def test_a_missing_password_is_a_store_error(guarded: int, reply: Asking) -> None:
    with pytest.raises(StoreError, match=r"(?i)authentication required"):
        await reply(f"redis://127.0.0.1:{guarded}", admit(0, ONE))


# ------------------------------------------------------------------- several servers
async def test_the_documented_rights_are_enough_on_a_cluster(cluster: Site, reply: Asking) -> None:
    try:
        for node in cluster.nodes:
            let_in(node.port, "+cluster|slots +asking")
        url = cluster.url.replace("redis+cluster://", login("redis+cluster"))
        keys = [f"lockwatch:1:sw:{{{i}}}:a" for i in range(20)]
        found = await asyncio.gather(*[reply(url, admit(0, Ask(key, 5, HOUR))) for key in keys])
        assert {answer[0] for answer in found} == {1}
    finally:
        for node in cluster.nodes:
            sites.ask(node.port, "ACL", "DELUSER", "lockwatch")


async def test_the_documented_rights_are_enough_under_sentinel(sentinels: Site, reply: Asking) -> None:
    try:
        let_in(sentinels.nodes[0].port, "+role")
        assert (await reply(sentinels.url.replace("redis+sentinel://", login("redis+sentinel")), admit(0, ONE)))[1] == 4
    finally:
        sites.ask(sentinels.nodes[0].port, "ACL", "DELUSER", "lockwatch")


# -------------------------------------------------------------------- a Unix socket
async def test_a_unix_socket_is_reached_by_every_spelling(tmp_path: Path, reply: Asking) -> None:
    path = tmp_path / "a b.sock"
    process = servers.start_redis("--unixsocket", str(path))
    try:
        for left, scheme in enumerate(("unix", "redis+unix", "valkey+unix")):
            assert (await reply(f"{scheme}://{quote(str(path))}?db=1", admit(0, ONE)))[1] == 4 - left
        assert (await reply(redis.Redis(unix_socket_path=str(path), db=1), admit(0, ONE)))[1] == 1
        sites.ask(process.port, "CONFIG", "SET", "requirepass", PASSWORD)
        assert (await reply(f"unix://:{quote(PASSWORD, safe='')}@{quote(str(path))}?db=1", admit(0, ONE)))[1] == 0
        with pytest.raises(StoreError, match=r"(?i)authentication required"):
            await reply(f"unix://{quote(str(path))}", admit(0, ONE))
    finally:
        process.stop()


async def test_a_unix_socket_that_is_not_there_is_a_store_error(tmp_path: Path, reply: Asking) -> None:
    with pytest.raises(StoreError, match=r"nothing\.sock"):
        await reply(f"unix://{tmp_path}/nothing.sock", admit(0, ONE))
