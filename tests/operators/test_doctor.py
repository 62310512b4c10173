"""`lockwatch doctor`: each finding is provoked, and is gone where nothing is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from lockwatch.cli import main
from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.catalogue import CATALOGUE
from lockwatch.diagnosis.finding import Finding
from lockwatch.diagnosis.keys import judged
from lockwatch.diagnosis.patient import Patient
from lockwatch.diagnosis.settings import is_weak
from lockwatch.diagnosis.spool import on_network, room
from lockwatch.diagnosis.store import findings
from lockwatch.diagnosis.surroundings import PLATFORMS
from lockwatch.stores.probe import Probe
from lockwatch.tokens.rotation import Entry, KeyFile
from tests import servers

ROOT = Path(__file__).parents[2]
STRONG = "kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU"
PASSWORD = "hunter22-hunter22"
FASTAPI = """
import functools, os
from fastapi import Depends, FastAPI
from lockwatch import *
app = FastAPI(openapi_url=None)
lockwatch = LockWatch(app, {options})
@app.get("/", dependencies=[Depends(RateLimit("100/minute"))])
async def home(): return "home"
{more}
"""
FLASK = """
from flask import Flask
from lockwatch_flask import LockWatch
app = Flask(__name__, static_folder=None)
lockwatch = LockWatch(app, {options})
@app.get("/")
@lockwatch.limit("100/minute")
def home(): return "home"
{more}
"""
Told = dict[str, Any]
Check = Callable[..., Told]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as the current one, and an environment in which nothing stands."""
    for name in (*PLATFORMS, "WEB_CONCURRENCY", "UVICORN_WORKERS", "FORWARDED_ALLOW_IPS", "GUNICORN_CMD_ARGS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    """Runs the doctor, and says what it found: an application of `source` with `options`, or the environment alone."""
    before, count = set(sys.modules), 0

    def checked(
        options: str = "",
        source: str | None = FASTAPI,
        more: str = "",
        strict: bool = False,
        **environ: str,
    ) -> Told:
        nonlocal count
        count += 1
        name = f"shop{count}_{place.name.replace('-', '_')}"
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        if source is not None:
            (place / f"{name}.py").write_text(source.format(options=options, more=more))
        command = ["doctor", *([f"{name}:app"] if source is not None else []), *(["--strict"] if strict else []), "--json"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code in (0, 1), result.output + str(result.exception)
        assert PASSWORD not in result.output
        told: Told = json.loads(result.stdout)
        failed = any(f["severity"] == "error" or strict for f in told["findings"])
        assert result.exit_code == (1 if failed else 0)
        return told

    yield checked
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


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


def codes(told: Told) -> list[str]:
    return sorted(finding["code"] for finding in told["findings"])


def only(told: Told, code: str) -> dict[str, str]:
    """The one finding of a kind, which says everything it has to."""
    (found,) = [finding for finding in told["findings"] if finding["code"] == code]
    assert all(found[part] for part in ("what", "where", "change"))
    assert "\n" not in found["change"]
    assert found["severity"] == CATALOGUE[code].severity
    return found


# ------------------------------------------------------------ settings
def test_nothing_is_wrong_with_a_plain_application(check: Check) -> None:
    told = check()
    assert (told["status"], told["findings"]) == ("ok", [])
    assert [area["name"] for area in told["areas"]] == ["configuration", "store", "proxies", "workers", "webhooks", "routes"]
    assert check(source=FLASK)["findings"] == []
    assert check(source=None, strict=True)["findings"] == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ('secret_key="change-me-to-32-random-characters"', "secret.weak"),
        ('secret_key="0123456789abcdef0123456789abcdef"', "secret.weak"),
        (f'secret_key=("{STRONG}", "aaaaaaaaaaaaaaaaaaaaaaaa")', "secret.weak"),
        ('jwt_secret="at least thirty-two bytes of your own"', "secret.weak"),
        ('jwt=JWTConfig(jwt_secret="my-super-secret-key-for-production")', "secret.weak"),
        ('mode="off"', "configuration.off"),
        ('mode="observe"', "configuration.observe"),
        ("jwt=JWTConfig()", "keys.temporary"),
        ("anomaly=AnomalyConfig()", "webhooks.nobody"),
        ('webhook_urls=["https://hooks.example.com/x"]', "webhooks.unsigned"),
        ('webhook_urls=["http://127.0.0.1:9/x"], allow_private_webhooks=True', "webhooks.private"),
        ("workers=4", "workers.memory"),
        (f'jwt_secret="{STRONG}"', "sessions.memory"),
    ],
)
def test_an_option_is_found(check: Check, options: str, code: str) -> None:
    assert code not in codes(check())
    found = only(check(options), code)
    assert "thirty-two" not in json.dumps(found)


def test_a_secret_from_the_environment_is_named_by_its_variable(check: Check) -> None:
    found = only(check(LOCKWATCH_SECRET_KEY="change-me-to-32-random-characters"), "secret.weak")
    assert found["where"] == "secret_key (LOCKWATCH_SECRET_KEY)"
    assert found["change"].startswith("export LOCKWATCH_SECRET_KEY=$(python -c ")


@pytest.mark.parametrize(
    "secret", [STRONG, "7f3c9a1e5b8d2046", b"\x8f\x11-\xfe" * 2 + b"\x00\x93ab7/+d9\x81\x17\x02=", "correct horse battery staple"]
)
def test_a_good_secret_is_none_of_those(secret: str | bytes) -> None:
    assert not is_weak(secret)


@pytest.mark.parametrize("secret", ["a" * 40, "abcd-efgh" * 4, "password-password", "Example-of-a-key-7f3c9a1e5b8d2046", b"0" * 32])
def test_a_pattern_is_weak(secret: str | bytes) -> None:
    assert is_weak(secret)


def test_debug_is_found_in_both_frameworks(check: Check) -> None:
    assert only(check(more="app.debug = True"), "configuration.debug")["change"] == "FastAPI(debug=False)"
    assert only(check(more="app.debug = True", source=FLASK), "configuration.debug")["change"] == "FLASK_DEBUG=0"


@pytest.mark.parametrize("source", [FASTAPI, None])
def test_variables_that_nothing_reads(check: Check, source: str | None) -> None:
    told = check(source=source, LOCKWATCH_REDIS_ULR="redis://localhost", REDIS_URL=f"redis://:{PASSWORD}@localhost")
    assert only(told, "configuration.unknown")["change"] == "LOCKWATCH_REDIS_URL=..."
    assert only(told, "configuration.unread")["change"] == "LOCKWATCH_REDIS_URL=$REDIS_URL"


def test_settings_that_contradict_themselves_are_the_only_finding(check: Check) -> None:
    told = check(source=None, LOCKWATCH_MODE="enfroce")
    assert codes(told) == ["configuration.invalid"]
    assert "'enforce'" in told["findings"][0]["what"]
    told = check(source=None, LOCKWATCH_WEBHOOK_URLS=f"http://user:{PASSWORD}@10.0.0.1/hook")
    assert codes(told) == ["configuration.invalid"]


# ------------------------------------------------------------ proxies and workers
@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("FORWARDED_ALLOW_IPS", "*", "proxies.everyone"),
        ("GUNICORN_CMD_ARGS", "--workers 2 --forwarded-allow-ips='*'", "proxies.everyone"),
        ("WEB_CONCURRENCY", "4", "workers.memory"),
        ("UVICORN_WORKERS", "2", "workers.memory"),
        ("GUNICORN_CMD_ARGS", "-w 3", "workers.memory"),
        ("DYNO", "web.1", "proxies.untrusted"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", "proxies.untrusted"),
    ],
)
def test_a_variable_of_the_server_is_found(check: Check, variable: str, value: str, code: str) -> None:
    assert codes(check()) == []
    found = only(check(**{variable: value}), code)
    assert found["where"] == f"environment: {variable}"


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("gunicorn.conf.py", "workers = 4\n", "workers.memory"),
        ("gunicorn.conf.py", "import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1\n", "workers.memory"),
        ("gunicorn.conf.py", 'forwarded_allow_ips = "*"\n', "proxies.everyone"),
        ("Procfile", "web: gunicorn -w 4 -k uvicorn.workers.UvicornWorker main:app\n", "workers.memory"),
        ("Procfile", "web: uvicorn main:app --forwarded-allow-ips '*'\n", "proxies.everyone"),
    ],
)
def test_a_file_of_the_server_is_read_and_not_run(check: Check, place: Path, file: str, text: str, code: str) -> None:
    (place / file).write_text(f"{text}raise_an_error_if_run()\n" if file.endswith(".py") else text)
    only(check(), code)
    (place / file).write_text("workers = 1\n" if file.endswith(".py") else "web: uvicorn main:app\nworker: celery -w 9\n")
    assert codes(check()) == []


def test_a_trusted_proxy_answers_the_platform(check: Check) -> None:
    assert codes(check("trusted_proxies=1", DYNO="web.1")) == []
    told = check("trusted_proxies=['10.0.0.0/8']", FORWARDED_ALLOW_IPS="10.0.0.1")
    assert codes(told) == ["proxies.twice"]


def test_proxy_fix_and_trusted_proxies_are_two_that_take_the_address(check: Check) -> None:
    fix = "from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app)"
    assert only(check("trusted_proxies=1", source=FLASK, more=fix), "proxies.twice")["where"] == "ProxyFix"
    assert codes(check(source=FLASK, more=fix)) == []


# ------------------------------------------------------------ the store
def test_a_healthy_store_is_described(check: Check, redis_server: str) -> None:
    told = check(f'redis_url="{redis_server}", secret_key="{STRONG}"')
    assert told["findings"] == []
    (store,) = [area for area in told["areas"] if area["name"] == "store"]
    assert store["state"] == "ok"
    assert "noeviction, PING p50 " in store["summary"]
    assert " ms p99 " in store["summary"]
    only(check(f'redis_url="{redis_server}"'), "secret.missing")


def test_eviction_is_found(check: Check, redis_server: str) -> None:
    options = f'redis_url="{redis_server}", secret_key="{STRONG}"'
    with configured(redis_server, maxmemory_policy="allkeys-lru"):
        assert codes(check(options)) == ["store.eviction"]
    with configured(redis_server, maxmemory_policy="volatile-ttl"):
        assert codes(check(options)) == []
        told = check(f'{options}, jwt_secret="{STRONG}", spool_dir=None')
        assert codes(told) == ["sessions.eviction", "sessions.persistence", "spool.none"]
        assert "CONFIG SET maxmemory-policy noeviction" in only(told, "sessions.eviction")["change"]


def test_sessions_want_a_store_that_keeps_them(check: Check, redis_server: str, place: Path) -> None:
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
        assert "store.replica" in codes(check(f'redis_url="{url}", secret_key="{STRONG}"'))
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
        place = redis_server.partition("//")[2]
        told = check(f'redis_url="redis://watch:{PASSWORD}@{place}", secret_key="{STRONG}"')
        assert told["findings"] == []
        assert "noeviction" in next(area["summary"] for area in told["areas"] if area["name"] == "store")
        told = check(f'redis_url="redis://idle:{PASSWORD}@{place}", secret_key="{STRONG}"')
        assert "store.refuses" in codes(told)
        told = check(f'redis_url="redis://watch:{PASSWORD}-wrong@{place}", secret_key="{STRONG}"')
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


# ------------------------------------------------------------ keys
def test_a_key_file_is_looked_at(check: Check, place: Path) -> None:
    made = CliRunner().invoke(main, ["keys", "generate", "keys.json", "--algorithm", "ES256"])
    assert made.exit_code == 0, made.output
    options = "jwt=JWTConfig(rsa_private_key_path='keys.json'), spool_dir=None"
    told = check(options)
    assert codes(told) == ["sessions.memory", "spool.none"]
    (place / "keys.json").chmod(0o644)
    assert only(check(options), "keys.mode")["change"] == f"chmod 600 {place / 'keys.json'}"
    assert "BEGIN" not in json.dumps(check(options))
    told = check("jwt=JWTConfig(rsa_private_key_path='keys.json', access_token_ttl_seconds=172800), spool_dir=None")
    found = only(told, "configuration.invalid")
    assert found["change"].endswith("--token-ttl 172800")
    assert found["where"].startswith("shop4_")
    assert found["where"].endswith("py, line 6")


def test_a_key_in_pem_is_looked_at(check: Check, place: Path) -> None:
    from lockwatch.tokens.keyfile import new_pem

    (place / "key.pem").write_text(new_pem("ES256"))
    (place / "key.pem").chmod(0o600)
    options = "jwt=JWTConfig(rsa_private_key_path='key.pem'), spool_dir=None"
    assert "keys.mode" not in codes(check(options))
    (place / "key.pem").chmod(0o640)
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


# ------------------------------------------------------------ the database
def test_a_database_of_postgres_is_looked_at(check: Check, postgres_url: str) -> None:
    options = f'audit_database_url="{postgres_url}", spool_dir=None'
    assert only(check(options), "database.outdated")["change"] == "lockwatch db upgrade"
    assert "database.missing" in codes(check(f"{options}, audit_migrate=False"))
    assert CliRunner().invoke(main, ["db", "upgrade", "--database", postgres_url]).exit_code == 0
    assert codes(check(options)) == ["database.partitions", "database.rights", "spool.none"]
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    for command in (["partitions", "--for", tomorrow], ["roles", "--apply"]):
        done = CliRunner().invoke(main, ["db", *command, "--database", postgres_url])
        assert done.exit_code == 0, done.output
    assert codes(check(options)) == ["spool.none"]


def test_tables_of_another_revision_are_found(check: Check, postgres_url: str) -> None:
    import asyncio

    import asyncpg

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


def test_a_file_of_sqlite_is_looked_at(check: Check, place: Path) -> None:
    options = 'audit_database_url="sqlite+aiosqlite:///audit.db", spool_dir=None'
    assert codes(check(options)) == ["database.outdated", "spool.none"]
    assert not (place / "audit.db").exists()
    assert CliRunner().invoke(main, ["db", "upgrade", "--database", "sqlite+aiosqlite:///audit.db"]).exit_code == 0
    assert codes(check(options)) == ["spool.none"]
    (place / "audit.db").chmod(0o644)
    assert codes(check(options)) == ["database.file-mode", "spool.none"]


def test_without_the_extra_the_line_to_install_it_is_told(place: Path) -> None:
    code = "import sys; sys.modules['sqlmodel'] = None; from lockwatch.cli import main; main()"
    environ = {"LOCKWATCH_DATABASE_URL": "sqlite+aiosqlite:///audit.db", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place)}
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json"], capture_output=True, text=True, check=False, env=environ
    )
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert only(told, "database.extra")["change"] == 'pip install "lockwatch[audit]"'


# ------------------------------------------------------------ the spool
AUDITED = 'audit_sinks=["stdout:"], spool_dir="{}"'


def test_a_spool_is_looked_at_and_not_made(check: Check, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import tempfile

    assert codes(check(AUDITED.format(place / "state"))) == ["spool.temporary"]
    assert not (place / "state").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
    assert codes(check(AUDITED.format(place / "state"))) == []
    own = place / "state" / f"lockwatch-{os.geteuid()}"
    own.mkdir(parents=True, mode=0o700)
    assert codes(check(AUDITED.format(place / "state"))) == []
    own.chmod(0o755)
    assert only(check(AUDITED.format(place / "state")), "spool.mode")["change"] == f"chmod 700 {own}"
    own.chmod(0o700)
    (own / "audit.0123456789ab.7-00.db").touch()
    (own / "audit.0123456789ab.7-00.lock").touch()
    only(check(AUDITED.format(place / "state")), "spool.left")
    own.rename(place / "elsewhere")
    own.symlink_to(place / "elsewhere")
    assert "is a link" in only(check(AUDITED.format(place / "state")), "spool.mode")["what"]


def test_a_spool_needs_room_and_a_local_disk(place: Path) -> None:
    patient = Patient("", LockWatchConfig(audit_sinks=("stdout:",)), {}, place)
    assert list(room(patient, place, 2**34)) == []
    (full,) = room(patient, place, 100 * 2**20)
    assert (full.code, full.change) == ("spool.full", "audit_spool_megabytes=25, or a larger disk")
    assert list(on_network(place, "ext4")) == []
    assert [finding.code for finding in on_network(place, "nfs4")] == ["spool.network"]


# ------------------------------------------------------------ routes
def test_bare_routes_are_counted(check: Check) -> None:
    bare = "\n".join(f"@app.get('/bare/{n}')\nasync def bare{n}(): ..." for n in range(7))
    found = only(check(more=bare), "routes.unprotected")
    assert found["what"] == "7 routes have neither a limit nor a token"
    assert found["where"].endswith(" and 2 more")
    assert codes(check('default_limits="9/minute"', more=bare)) == []


def test_a_log_in_that_opens_is_found(check: Check) -> None:
    login = "@app.post('/login', dependencies=[Depends(RateLimit('5/minute'{}))])\nasync def login(): ..."
    assert only(check(more=login.format("")), "failure.open")["where"] == "POST /login"
    assert codes(check(more=login.format(", on_store_error='local'"))) == []
    assert codes(check(more=login.format(", count='failures'"))) == []
    assert codes(check("on_redis_failure='allow'", more=login.format(", count='failures'"))) == ["failure.open"]


def test_tokens_that_are_believed_too_long_are_found(check: Check) -> None:
    route = "@app.get('/me', dependencies=[Depends(JWTAuth({}))])\nasync def me(): ..."
    options = f'jwt_secret="{STRONG}", spool_dir=None'
    assert "failure.revoked" not in codes(check(options, more=route.format("")))
    only(check(options, more=route.format("on_store_error='allow'")), "failure.revoked")
    told = check(more=route.format(""))
    assert codes(told) == ["routes.tokens"]


HIDING = """
def plain(function):
    async def inner(*args, **kwargs): return await function(*args, **kwargs)
    return inner
def wrapping(function):
    return functools.wraps(function)(plain(function))
"""
BELOW = HIDING + "@app.get('/x', dependencies=[Depends(RateLimit('9/s'))])\n@{}\n@lockwatch.limit('5/minute')\nasync def x(): ..."
ABOVE = HIDING + "@lockwatch.limit('5/minute')\n@{}\n@app.get('/x', dependencies=[Depends(RateLimit('9/s'))])\nasync def x(): ..."


def test_a_limit_that_a_decorator_hides_is_found(check: Check) -> None:
    found = only(check(more=BELOW.format("plain")), "routes.lost")
    assert "RateLimit('5-per-minute', key=by_ip) stands below a decorator without functools.wraps" in found["what"]
    assert found["where"].startswith("x (")
    assert codes(check(more=BELOW.format("wrapping"))) == []


def test_a_limit_on_something_that_is_no_route_is_found(check: Check) -> None:
    found = only(check(more=ABOVE.format("plain")), "routes.lost")
    assert "is behind no route" in found["what"]
    assert codes(check(more=ABOVE.replace("@{}\n", ""))) == []
    assert codes(check(more="@lockwatch.limit('5/minute')\ndef helper(): ...")) == ["routes.lost"]


def test_flask_enforces_a_hidden_limit_late(check: Check) -> None:
    more = """
def plain(function):
    def inner(*args, **kwargs): return function(*args, **kwargs)
    return inner
@app.get("/x")
@plain
@lockwatch.limit("5/minute")
def x(): return ""
"""
    told = check(source=FLASK, more=more)
    assert codes(told) == ["routes.late", "routes.unprotected"]
    helper = "@lockwatch.limit('5/minute')\ndef helper(): ...\n@app.get('/y')\n@lockwatch.limit('1/s')\ndef y(): return helper()"
    assert codes(check(source=FLASK, more=helper)) == []


def test_an_application_without_lockwatch_is_found(check: Check) -> None:
    bare = "from fastapi import Depends, FastAPI\nfrom lockwatch import RateLimit\napp = FastAPI()\n{more}"
    found = only(check(source=bare), "routes.no-lockwatch")
    assert "nothing is protected" in found["what"]
    route = "@app.get('/x', dependencies=[Depends(RateLimit('5/minute'))])\ndef x(): ..."
    found = only(check(source=bare, more=route), "routes.no-lockwatch")
    assert found["what"].startswith("GET /x have limits, and nobody installed LockWatch")
    assert found["change"] == "LockWatch(app, ...), right below where it is made"
    only(check(source="from flask import Flask\napp = Flask(__name__)\n"), "routes.no-lockwatch")


def test_the_middleware_of_the_first_release_is_protection(check: Check) -> None:
    fastapi = "from fastapi import FastAPI\nfrom lockwatch import LockWatchMiddleware\napp = FastAPI()\n{more}"
    once = "app.add_middleware(LockWatchMiddleware, burst_threshold=0)\n"
    assert codes(check(source=fastapi, more=once)) == []
    assert codes(check(source=fastapi, more=once * 2)) == ["routes.twice"]
    flask = "from flask import Flask\nfrom lockwatch.middleware import *\napp = Flask(__name__)\n{more}"
    once = "app.wsgi_app = LockWatchFlaskMiddleware(app.wsgi_app)\n"
    assert codes(check(source=flask, more=once)) == []
    assert codes(check(source=flask, more=once * 2)) == ["routes.twice"]


def test_a_middleware_beside_application_limits_counts_twice(check: Check) -> None:
    more = "app.add_middleware(LockWatchMiddleware, burst_threshold=0)"
    assert codes(check(more=more)) == []
    assert codes(check("application_limits='9/minute'", more=more)) == ["routes.twice"]


# ------------------------------------------------------------ the command
def test_people_read_what_where_and_what_to_change(place: Path) -> None:
    (place / "mine.py").write_text(FASTAPI.format(options="workers=4", more=""))
    result = CliRunner().invoke(main, ["doctor", "mine:app"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["state", "area", "seen"]
    start = lines.index("error: 4 processes serve, and each counts in its own memory: every limit is multiplied by that")
    assert lines[start + 1 : start + 4] == [
        "  at workers",
        "  change: LOCKWATCH_REDIS_URL=redis://localhost:6379/0",
        "  code: workers.memory",
    ]
    assert lines[-1] == "1 errors, 0 warnings."
    del sys.modules["mine"]


def test_warnings_fail_when_one_is_strict(check: Check) -> None:
    check('mode="observe"')
    check('mode="observe"', strict=True)


def test_an_application_that_cannot_be_had_exits_2(place: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "nothing:app"])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_finding_of_no_kind_is_a_bug() -> None:
    with pytest.raises(ValueError, match="in no catalogue"):
        Finding("store.odd", "what", "where", "change")


def test_every_kind_of_finding_is_provoked_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [code for code in CATALOGUE if f'"{code}"' not in text] == []
