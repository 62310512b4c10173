"""What is no outage: scripts the server forgot or may not keep, a key that is not ours, another release on the same server."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import redis

import lockwatch as package
from lockwatch.flow import Call
from lockwatch.stores import wire
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.failure.apps import PATHS, ask, make

MINUTE = 60_000_000
PATIENT = 5.0
"""A deadline no test here is about."""


async def test_scripts_the_server_forgot_are_no_outage(redis_server: str, caplog: pytest.LogCaptureFixture) -> None:
    app, lockwatch = make(redis_server, 20, PATIENT)
    with redis.Redis.from_url(redis_server) as client:
        found = []
        for _ in range(10):
            client.script_flush()
            found += await asyncio.gather(*[ask(app, "/deny", "192.0.2.1") for _ in range(2)])
    assert sorted(found) == [200] * 20
    assert await ask(app, "/deny", "192.0.2.1") == 429
    assert (lockwatch.health().status, caplog.records) == ("ok", [])
    await lockwatch.aclose()


async def test_a_user_without_the_right_to_load_scripts_is_enough(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as client:
        client.script_flush()
        client.acl_setuser(
            "app", enabled=True, passwords=["+secret"], keys=["lockwatch:*"], commands=["+@all", "-script", "-@admin"]
        )
        app, lockwatch = make(redis_server.replace("redis://", "redis://app:secret@"), 2, PATIENT)
        assert [await ask(app, "/deny", "192.0.2.1") for _ in range(3)] == [200, 200, 429]
        assert lockwatch.health().status == "ok"
        await lockwatch.aclose()
        client.acl_deluser("app")


async def test_a_key_of_the_wrong_type_fails_only_who_needs_it_and_is_no_outage(
    redis_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, lockwatch = make(redis_server, 3, PATIENT)
    with redis.Redis.from_url(redis_server) as client:
        for path in PATHS:
            assert await ask(app, path, "192.0.2.1") == 200
        buckets = [key for key in client.scan_iter() if client.type(key) == b"string"]
        assert len(buckets) == 3
        for key in buckets:
            client.delete(key)
            client.rpush(key, "not ours")
        for round_ in range(5):
            peers = ["192.0.2.1", *[f"192.0.2.{10 * round_ + i}" for i in range(10, 20)]]
            for path, wanted in (("/allow", 200), ("/deny", 503), ("/local", 200 if round_ < 1 else 429)):
                found = await asyncio.gather(*[ask(app, path, peer) for peer in peers])
                assert found == [wanted] + [200] * 10, (round_, path)
        health = lockwatch.health()
        assert (health.status, health.store_ok, health.breaker) == ("degraded", True, "closed")
        assert [warning for warning in health.warnings if "WRONGTYPE" in warning]
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "failed alone" in caplog.records[0].message
        for key in buckets:
            client.delete(key)
    for path in PATHS:
        assert [await ask(app, path, "192.0.2.1") for _ in range(4)] == [200, 200, 200, 429]
    await lockwatch.aclose()


async def test_two_releases_share_a_server_and_its_quotas(redis_server: str, tmp_path: Path) -> None:
    """Scripts of another release have another digest; neither pushes the other out, and both count in the same buckets."""
    shutil.copytree(Path(package.__file__).parent, tmp_path / "lockwatch")
    source = tmp_path / "lockwatch" / "stores" / "lua" / "dispatch.lua"
    source.write_text(source.read_text() + "\n-- the next release\n")
    other = textwrap.dedent("""
        import sys
        from lockwatch.flow import Call
        from lockwatch.stores import wire
        from lockwatch.stores.connect import address_of
        from lockwatch.stores.redis_sync import RedisStore

        store = RedisStore(address_of(sys.argv[1]), 10)
        print(hash(wire.source()) != 0 and b"the next release" in wire.source(), flush=True)
        for line in sys.stdin:
            print(store.call(Call("admit", ("shared",), (0, 0, 50, 60_000_000, 0, 1)))[0], flush=True)
    """)
    command = [sys.executable, "-c", other, redis_server]
    store = RedisStore(address_of(redis_server), 10)
    assert b"the next release" not in wire.source()
    with redis.Redis.from_url(redis_server) as client:
        client.config_resetstat()
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        admitted = 0
        for _ in range(40):
            process.stdin.write("take\n")
            process.stdin.flush()
            admitted += store.call(Call("admit", ("shared",), (0, 0, 50, MINUTE, 0, 1)))[0] == 1
            admitted += process.stdout.readline() == "1\n"
        process.stdin.close()
    assert admitted == 50
    with redis.Redis.from_url(redis_server) as client:
        assert client.info("commandstats").get("cmdstat_eval", {}).get("calls", 0) <= 2
    store.close()


async def test_a_restart_that_nobody_saw_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    process = servers.start_redis()
    app, lockwatch = make(f"redis://127.0.0.1:{process.port}", 4, PATIENT)
    assert [await ask(app, "/deny", "192.0.2.1") for _ in range(2)] == [200, 200]
    process.stop()
    again = servers.start_redis(port=process.port)
    assert [await ask(app, "/deny", "192.0.2.1") for _ in range(5)] == [200, 200, 200, 200, 429]
    assert (lockwatch.health().status, caplog.records) == ("ok", [])
    await lockwatch.aclose()
    again.stop()
