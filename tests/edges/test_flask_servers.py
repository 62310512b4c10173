"""Flask under real servers: workers that fork, threads and green threads, and the end of a process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from lockwatch_flask import LockWatch
from tests import servers

SHOP = """
import json, os, socket, threading
from flask import Flask
from lockwatch_flask import LockWatch

app = Flask(__name__)
place = os.environ["PLACE"]
lockwatch = LockWatch(
    app,
    redis_url=os.environ["STORE"],
    store_timeout=10,
    secret_key="0123456789abcdef",
    audit_database_url=f"sqlite+aiosqlite:///{place}/audit.db",
    spool_dir=f"{place}/spool",
)

async def write(events):
    with open(os.path.join(os.environ["PLACE"], f"{os.getpid()}.events"), "a") as file:
        for event in events:
            file.write(json.dumps([event.path, event.status]) + "\\n")

lockwatch.engine.listen(write)
if os.environ.get("WARM"):  # a connection and a thread of the parent, which no worker may go on with
    lockwatch.take("warm", "parent", "9/minute")

@app.get("/a")
@lockwatch.limit("50/hour")
def a():
    return {"pid": os.getpid()}

@app.get("/async")
@lockwatch.limit("50/hour")
async def slowly():
    return {"pid": os.getpid()}

@app.post("/login")
@lockwatch.limit("5/hour", count="failures")
def login():
    return {"pid": os.getpid()}

@app.get("/inside")
def inside():
    lockwatch.take("warm", str(os.getpid()), "9/minute")
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    sockets = [link for link in links if link.startswith("socket:")]
    return {"pid": os.getpid(), "sockets": sockets, "health": lockwatch.health().worker}
"""
KINDS = [("sync", ()), ("gthread", ("--threads", "4")), ("gevent", ()), ("gthread", ("--threads", "4", "--preload"))]


@contextmanager
def gunicorn(place: Path, store: str, kind: str, options: tuple[str, ...]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server with two workers, on a port."""
    (place / "shop.py").write_text(SHOP)
    port = servers.free_port()
    command = ["-m", "gunicorn", "-k", kind, "-w", "2", "-b", f"127.0.0.1:{port}", "--graceful-timeout", "20", *options, "shop:app"]
    environment = {
        "PATH": os.environ["PATH"],
        "STORE": store,
        "PLACE": str(place),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **({"WARM": "1"} if "--preload" in options else {}),
    }
    with open(place / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=place, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port), place)
        yield port, process
    finally:
        process.kill()
        process.wait(20)


def wait_for(happened: Any, place: Path) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, (place / "log").read_text()
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        return ask(port, "/none")[0] == 404
    except OSError:
        return False


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if response.headers["Content-Type"] == "application/json" else None
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda value: value if isinstance(value, str) else "-".join(value))
def test_workers_are_exact_share_no_socket_and_flush_when_they_are_told_to_end(
    tmp_path: Path, redis_server: str, kind: str, options: tuple[str, ...]
) -> None:
    with gunicorn(tmp_path, redis_server, kind, options) as (port, process), ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: ask(port, "/a")[0], range(70)))
        assert (seen.count(200), seen.count(429)) == (50, 20)
        assert [ask(port, "/async")[0] for _ in range(4)] == [200] * 4
        inside = {told["pid"]: told for _, told in pool.map(lambda _: ask(port, "/inside"), range(20))}
        held = [set(told["sockets"]) for told in inside.values()]
        assert {told["health"] for told in inside.values()} == {"running"}
        shared = set.intersection(*held) if len(held) > 1 else set()
        listening = sockets_of(process.pid)
        assert shared <= listening  # the one that listens, and those of the parent that no worker uses
        assert ask(port, "/login", "POST")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    events = [json.loads(line) for file in tmp_path.glob("*.events") for line in file.read_text().splitlines()]
    counted = {path: sum(event[0] == path for event in events) for path in ("/a", "/async", "/inside", "/login")}
    assert counted == {"/a": 70, "/async": 4, "/inside": 20, "/login": 1}, (tmp_path / "log").read_text()
    wait_for(lambda: rows(tmp_path, redis_server, counted) == counted, tmp_path)


def rows(place: Path, store: str, wanted: Any) -> dict[str, int]:
    """How many rows of the audit log there are for each path. What a worker had no time to ship, the next process does."""
    database = f"sqlite+aiosqlite:///{place}/audit.db"
    later = LockWatch(
        Flask("later"), redis_url=store, secret_key="0123456789abcdef", audit_database_url=database, spool_dir=str(place / "spool")
    )
    later.engine.open_sync()
    later.flush()
    later.close()
    with closing(sqlite3.connect(place / "audit.db")) as opened:
        found = opened.execute("SELECT endpoint, COUNT(*) FROM lockwatch_audit_log GROUP BY endpoint").fetchall()
    return {path: count for path, count in found if path in wanted}


def sockets_of(pid: int) -> set[str]:
    """The sockets of a process."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if link.startswith("socket:"):
            found.add(link)
    return found


def test_uwsgi_without_threads_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    stand_in = ModuleType("uwsgi")
    stand_in.opt = {"master": b"true"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", stand_in)
    app = Flask("shop")
    lockwatch = LockWatch(app)
    assert any("--enable-threads" in record.message for record in caplog.records)
    assert lockwatch.health().status == "degraded"


def test_uwsgi_without_threads_settles_at_once(monkeypatch: pytest.MonkeyPatch, redis_server: str) -> None:
    stand_in = ModuleType("uwsgi")
    stand_in.opt = {b"master": b"true"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", stand_in)
    app = Flask("shop")
    lockwatch = LockWatch(app, redis_url=redis_server, store_timeout=5.0)
    app.add_url_rule("/a", "a", lockwatch.limit("1/hour", count="failures")(lambda: "fine"))
    another = Flask("other")
    other = LockWatch(another, redis_url=redis_server, store_timeout=5.0)
    client = app.test_client()
    assert [client.get("/a").status_code for _ in range(3)] == [200, 200, 200]
    (usage,) = _usages(lockwatch, app)
    assert usage.used == 0
    lockwatch.close()
    other.close()


def _usages(lockwatch: LockWatch, app: Flask) -> Any:
    with app.app_context():
        return lockwatch.limits_of("ip:127.0.0.1")
