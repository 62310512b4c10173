"""`lockwatch doctor` on what a set-up keeps things in: store, keys, database, spool."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import redis
from click.testing import CliRunner

from lockwatch.cli import main
from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.keys import judged
from lockwatch.diagnosis.patient import Patient
from lockwatch.diagnosis.spool import on_network, room
from lockwatch.diagnosis.store import findings
from lockwatch.stores.probe import Probe
from lockwatch.tokens.keyfile import new_pem
from lockwatch.tokens.rotation import Entry, KeyFile
from tests import servers
from tests.operators.patients import PASSWORD, ROOT, STRONG, Check, Told, codes, only


@contextmanager
def configured(url: str, **settings: str) -> Iterator[redis.Redis]:
    """A server with other settings while the block runs."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: client.config_get(name)[name] for name in names}
        for name, value in names.items():
            client.config_set(name, value)
        try:
            yield client
        finally:
            for name, value in before.items():
                client.config_set(name, value)


def test_a_healthy_store_is_described(check: Check, redis_server: str) -> None:
    told = check(f'redis_url="{redis_server}", secret_key="{STRONG}"')
    assert told["findings"] == []
    (store,) = [area for area in told["areas"] if area["name"] == "store"]
    assert store["state"] == "ok"
    assert "noeviction, PING p50 " in store["summary"]
    assert " ms p99 " in store["summary"]
    only(check(f'redis_url="{redis_server}"'), "secret.missing")


def test_the_page_prints_what_the_doctor_prints(bare_place: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_place / "main.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom lockwatch import LockWatch, RateLimit\napp = FastAPI(openapi_url=None)\n"
        f"lockwatch = LockWatch(app, namespace='shop', trusted_proxies=1, secret_key='{STRONG}', store_timeout=5)\n"
        "@app.get('/items', dependencies=[Depends(RateLimit('9/s'))])\ndef items(): ...\n"
        "@app.get('/offers', dependencies=[Depends(RateLimit('9/s'))])\ndef offers(): ...\n"
        "@app.get('/search')\ndef search(): ...\n"
    )
    for name, value in (("LOCKWATCH_REDIS_URL", redis_server), ("WEB_CONCURRENCY", "4")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCKWATCH_STORE_TIMEOUT")
    with configured(redis_server, maxmemory_policy="allkeys-lru"):
        shown = CliRunner().invoke(main, ["doctor", "main:app"]).stdout
    del sys.modules["main"]
    page = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("## Find what is wrong")[2]
    printed = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    assert plain(shown) == plain(printed)


def plain(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"127\.0\.0\.1:\d+|(Valkey|Redis) [\d.]+|[\d.]+ ms|\+\d+ ms|-\d+ ms", "-", text)


def test_eviction_is_found(check: Check, redis_server: str) -> None:
    options = f'redis_url="{redis_server}", secret_key="{STRONG}"'
    with configured(redis_server, maxmemory_policy="allkeys-lru"):
        assert codes(check(options)) == ["store.eviction"]
    with configured(redis_server, maxmemory_policy="volatile-ttl"):
        assert codes(check(options)) == []
        told = check(f'{options}, jwt_secret="{STRONG}", spool_dir=None')
        assert codes(told) == ["sessions.eviction", "sessions.persistence", "spool.none"]
        assert "CONFIG SET maxmemory-policy noeviction" in only(told, "sessions.eviction")["change"]


def test_sessions_want_a_store_that_keeps_them(check: Check, redis_server: str, bare_place: Path) -> None:
    options = f'redis_url="{redis_server}", secret_key="{STRONG}", jwt_secret="{STRONG}", spool_dir=None'
    assert "sessions.persistence" in codes(check(options))
    with configured(redis_server, appendonly="yes"):
        assert codes(check(options)) == ["spool.none"]
    told = check(f'secret_key="{STRONG}", jwt_secret="{STRONG}", token_redis_url="{redis_server}", spool_dir=None')
    assert codes(told) == ["sessions.persistence", "spool.none"]
    assert [area["name"] for area in told["areas"]][:3] == ["configuration", "store", "sessions"]


def test_a_store_that_is_down_is_found_and_its_password_kept(check: Check) -> None:
    port = servers.free_port()
    told = check(f'redis_url="redis://:{PASSWORD}@127.0.0.1:{port}/0", secret_key="{STRONG}"')
    assert codes(told) == ["store.down"]
    assert only(told, "store.down")["where"] == f"127.0.0.1:{port}"
    told = check(source=None, LOCKWATCH_REDIS_URL=f"redi://:{PASSWORD}@localhost")
    assert codes(told) == ["configuration.invalid", "secret.missing"]


def test_a_replica_and_a_node_of_a_cluster_are_found(check: Check, redis_server: str) -> None:
    primary = redis_server.rpartition(":")[2].partition("/")[0]
    replica = servers.start_redis("--replicaof", "127.0.0.1", primary)
    node = servers.start_redis("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    try:
        url = f"redis://127.0.0.1:{replica.port}/0"
        ends = time.monotonic() + 20
        while "store.replica" not in codes(check(f'redis_url="{url}", secret_key="{STRONG}"')):  # it loads what the other has
            assert time.monotonic() < ends
        told = check(f'redis_url="redis://127.0.0.1:{node.port}/0", secret_key="{STRONG}"')
        assert only(told, "store.cluster")["change"] == f"LOCKWATCH_REDIS_URL=redis+cluster://127.0.0.1:{node.port}"
        told = check(f'redis_url="redis+cluster://127.0.0.1:{node.port}", secret_key="{STRONG}"')
        assert "store.cluster-down" in codes(told)
    finally:
        replica.stop()
        node.stop()


def test_a_user_with_too_few_rights_is_found(check: Check, redis_server: str) -> None:
    rights = "-@all +evalsha +eval +select +client|setinfo +info +time +get +getrange +pttl"
    with redis.Redis.from_url(redis_server) as client:
        client.execute_command("ACL", "SETUSER", "watch", "on", f">{PASSWORD}", "~lockwatch:*", *rights.split())
        client.execute_command("ACL", "SETUSER", "idle", "on", f">{PASSWORD}", "~lockwatch:*", "-@all", "+ping")
    try:
        server = redis_server.partition("//")[2]
        told = check(f'redis_url="redis://watch:{PASSWORD}@{server}", secret_key="{STRONG}"')
        assert told["findings"] == []
        assert "noeviction" in next(area["summary"] for area in told["areas"] if area["name"] == "store")
        told = check(f'redis_url="redis://idle:{PASSWORD}@{server}", secret_key="{STRONG}"')
        assert "store.refuses" in codes(told)
        told = check(f'redis_url="redis://watch:{PASSWORD}-wrong@{server}", secret_key="{STRONG}"')
        assert codes(told) == ["store.down"]
    finally:
        with redis.Redis.from_url(redis_server) as client:
            client.execute_command("ACL", "DELUSER", "watch", "idle")


HEALTHY = Probe("h:1", "Valkey", "9.1.2", "master", "noeviction", 0, 10, True, "", True, False, "", (0.0001,) * 100, 0.01)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"product": "Redis", "version": "6.0.16"}, "store.version"),
        ({"maxmemory": 100, "used": 95}, "store.full"),
        ({"snapshots": False}, "store.snapshot"),
        ({"pings": (0.0001,) * 98 + (0.04, 0.05)}, "store.slow"),
        ({"skew": -3.0}, "store.clock"),
        ({"clustered": True, "cluster": "fail"}, "store.cluster"),
        ({"appends": False}, "sessions.persistence"),
    ],
)
def test_what_a_server_says_is_judged(changes: Told, code: str) -> None:
    config = LockWatchConfig(store_timeout=0.05)
    assert [f.code for f in findings(HEALTHY, config, sessions=True, split=False)] == []
    assert [f.code for f in findings(replace(HEALTHY, **changes), config, sessions=True, split=False)] == [code]


def test_a_server_that_says_nothing_of_itself_is_no_finding() -> None:
    silent = replace(HEALTHY, version="", role="", policy=None, saves=None, appends=True)
    assert list(findings(silent, LockWatchConfig(store_timeout=0.05), sessions=True, split=False)) == []
    told = [replace(HEALTHY, product="Redis", version=version) for version in ("6.2.0", "7.4.1", "8.0")]
    assert not [f for one in told for f in findings(one, LockWatchConfig(store_timeout=0.05), sessions=False, split=False)]


def test_a_key_file_is_looked_at(check: Check, bare_place: Path) -> None:
    made = CliRunner().invoke(main, ["keys", "generate", "keys.json", "--algorithm", "ES256"])
    assert made.exit_code == 0, made.output
    options = "jwt=JWTConfig(rsa_private_key_path='keys.json'), spool_dir=None"
    told = check(options)
    assert codes(told) == ["sessions.memory", "spool.none"]
    (bare_place / "keys.json").chmod(0o644)
    assert only(check(options), "keys.mode")["change"] == f"chmod 600 {bare_place / 'keys.json'}"
    assert "BEGIN" not in json.dumps(check(options))
    told = check("jwt=JWTConfig(rsa_private_key_path='keys.json', access_token_ttl_seconds=172800), spool_dir=None")
    found = only(told, "configuration.invalid")
    assert found["change"].endswith("--token-ttl 172800")
    assert found["where"].startswith("shop4_")
    assert found["where"].endswith("py, line 6")


def test_a_key_in_pem_is_looked_at(check: Check, bare_place: Path) -> None:
    (bare_place / "key.pem").write_text(new_pem("ES256"))
    (bare_place / "key.pem").chmod(0o600)
    options = "jwt=JWTConfig(rsa_private_key_path='key.pem'), spool_dir=None"
    assert "keys.mode" not in codes(check(options))
    (bare_place / "key.pem").chmod(0o640)
    only(check(options), "keys.mode")


def test_the_state_of_a_ring_is_judged() -> None:
    now, day = 1_790_000_000.0, 86_400.0
    fresh = KeyFile((Entry("k1", "ES256", "current", now - day, "pem"), Entry("k0", "ES256", "retiring", now - day, "pem")))
    assert list(judged(fresh, "keys.json", now)) == []
    old = KeyFile(
        (Entry("k1", "ES256", "current", now - 400 * day, "pem"), Entry("-0", "ES256", "retiring", now - 400 * day, "pem"))
    )
    found = {f.code: f for f in judged(old, "keys.json", now)}
    assert set(found) == {"keys.old", "keys.retire"}
    assert found["keys.retire"].change == "lockwatch keys retire keys.json -- -0"


def test_a_database_of_postgres_is_looked_at(check: Check, postgres_url: str) -> None:
    options = f'audit_database_url="{postgres_url}", spool_dir=None'
    assert only(check(options), "database.outdated")["change"] == "lockwatch db upgrade"
    assert "database.missing" in codes(check(f"{options}, audit_migrate=False"))
    assert CliRunner().invoke(main, ["db", "upgrade", "--database", postgres_url]).exit_code == 0
    assert codes(check(options)) == ["database.partitions", "database.rights", "spool.none"]
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86_400)) for days in (1, 2)]  # it may be midnight soon
    for command in (*(["partitions", "--for", day] for day in days), ["roles", "--apply"]):
        done = CliRunner().invoke(main, ["db", *command, "--database", postgres_url])
        assert done.exit_code == 0, done.output
    assert codes(check(options)) == ["spool.none"]


def test_tables_of_another_revision_are_found(check: Check, postgres_url: str) -> None:
    assert CliRunner().invoke(main, ["db", "upgrade", "--database", postgres_url]).exit_code == 0

    async def age() -> None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute("UPDATE lockwatch_alembic_version SET version_num = '0000'")
        await connection.close()

    asyncio.run(age())
    options = f'audit_database_url="{postgres_url}", spool_dir=None'
    assert "database.outdated" in codes(check(options))
    assert "revision 0000" in only(check(f"{options}, audit_migrate=False"), "database.behind")["what"]


def test_a_database_that_is_down_is_found_and_its_password_kept(check: Check) -> None:
    url = f"postgresql://shop:{PASSWORD}@127.0.0.1:{servers.free_port()}/audit"
    told = check(f'audit_database_url="{url}", spool_dir=None')
    assert "database.down" in codes(told)


def test_a_file_of_sqlite_is_looked_at(check: Check, bare_place: Path) -> None:
    options = 'audit_database_url="sqlite+aiosqlite:///audit.db", spool_dir=None'
    assert codes(check(options)) == ["database.outdated", "spool.none"]
    assert not (bare_place / "audit.db").exists()
    assert CliRunner().invoke(main, ["db", "upgrade", "--database", "sqlite+aiosqlite:///audit.db"]).exit_code == 0
    assert codes(check(options)) == ["spool.none"]
    (bare_place / "audit.db").chmod(0o644)
    assert codes(check(options)) == ["database.file-mode", "spool.none"]


def test_every_database_that_rows_go_to_is_looked_at(check: Check, bare_place: Path) -> None:
    options = 'audit_database_url="sqlite:///one.db", audit_sinks=["sqlite:///two.db", "stdout:"], spool_dir=None'
    told = check(options)
    assert codes(told) == ["database.outdated", "database.outdated", "spool.none"]
    assert [f["where"] for f in told["findings"]][:2] == ["sqlite:///one.db", "sqlite:///two.db"]


def test_without_the_extra_the_line_to_install_it_is_told(bare_place: Path) -> None:
    code = "import sys; sys.modules['sqlmodel'] = None; from lockwatch.cli import main; main()"
    environ = {"LOCKWATCH_DATABASE_URL": "sqlite+aiosqlite:///audit.db", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(bare_place)}
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"], capture_output=True, text=True, check=False, env=environ
    )
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert only(told, "database.extra")["change"] == 'pip install "lockwatch[audit]"'


AUDITED = 'audit_sinks=["stdout:"], spool_dir="{}"'


def test_a_spool_is_looked_at_and_not_made(check: Check, bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(check(AUDITED.format(bare_place / "state"))) == ["spool.temporary"]
    assert not (bare_place / "state").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(bare_place / "tmp"))
    assert codes(check(AUDITED.format(bare_place / "state"))) == []
    own = bare_place / "state" / f"lockwatch-{os.geteuid()}"
    own.mkdir(parents=True, mode=0o700)
    assert codes(check(AUDITED.format(bare_place / "state"))) == []
    own.chmod(0o755)
    assert only(check(AUDITED.format(bare_place / "state")), "spool.mode")["change"] == f"chmod 700 {own}"
    own.chmod(0o700)
    (own / "audit.0123456789ab.7-00.db").touch()
    (own / "audit.0123456789ab.7-00.lock").touch()
    only(check(AUDITED.format(bare_place / "state")), "spool.left")
    own.rename(bare_place / "elsewhere")
    own.symlink_to(bare_place / "elsewhere")
    assert "is a link" in only(check(AUDITED.format(bare_place / "state")), "spool.mode")["what"]


def test_a_spool_needs_room_and_a_local_disk(bare_place: Path) -> None:
    patient = Patient("", LockWatchConfig(audit_sinks=("stdout:",)), {}, bare_place)
    assert list(room(patient, bare_place, 2**34)) == []
    (full,) = room(patient, bare_place, 100 * 2**20)
    assert (full.code, full.change) == ("spool.full", "audit_spool_megabytes=25, or a larger disk")
    assert list(on_network(bare_place, "ext4")) == []
    assert [finding.code for finding in on_network(bare_place, "nfs4")] == ["spool.network"]
