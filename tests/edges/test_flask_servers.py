"""Flask under real servers: workers that fork, threads and green threads, and the end of a process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from lockwatch_flask import LockWatch
from tests import servers

SHOP = """
import json, os, socket, time
from flask import Flask
from lockwatch_flask import LockWatch

place = os.environ["PLACE"]

def connected():
    # Where every connection of this process leads from and to.
    found = set()
    for fd in range(256):
        try:
            made = socket.socket(fileno=fd)
        except OSError:
            continue
        try:
            found.add((made.getsockname()[1], made.getpeername()[1]))
        except (OSError, IndexError):
            continue  # it listens, or leads to no port
        finally:
            made.detach()
    return sorted(found)

def write(name, lines):
    with open(os.path.join(place, f"{os.getpid()}.{name}"), "a") as file:
        file.writelines([line + "\\n" for line in lines])

async def event(events):
    write("events", [event.path for event in events])

async def row(entries):
    write("rows", [entry.endpoint for entry in entries])

app = Flask(__name__)
lockwatch = LockWatch(
    app,
    redis_url=os.environ["STORE"],
    store_timeout=10,
    secret_key="0123456789abcdef",
    audit_sinks=[row],
    spool_dir=f"{place}/spool",
)
lockwatch.engine.listen(event)
inherited = []
if os.environ.get("WARM"):  # a connection and a thread of the parent, which no worker may go on with
    lockwatch.take("warm", "parent", "9/minute")
    # What there is when a worker begins: the thread of the parent may connect after it was asked for the first time.
    os.register_at_fork(before=lambda: inherited.__setitem__(slice(None), connected()))

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
    time.sleep(0.02)  # so that the other worker gets the next request
    lockwatch.take("warm", str(os.getpid()), "99/minute")
    return {"pid": os.getpid(), "connected": connected(), "inherited": inherited, "health": lockwatch.health().worker}
"""
KINDS = {
    "sync": ("-k", "sync"),
    "gthread": ("-k", "gthread", "--threads", "4"),
    "gevent": ("-k", "gevent"),
    "preload": ("-k", "gthread", "--threads", "4", "--preload"),
}


@contextmanager
def gunicorn(place: Path, store: str, kind: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server with two workers, on a port."""
    (place / "shop.py").write_text(SHOP)
    port = servers.free_port()
    command = ["-m", "gunicorn", *KINDS[kind], "-w", "2", "-b", f"127.0.0.1:{port}", "--graceful-timeout", "20", "shop:app"]
    environment = {
        "PATH": os.environ["PATH"],
        "STORE": store,
        "PLACE": str(place),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **({"WARM": "1"} if kind == "preload" else {}),
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
        time.sleep(0.05)


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


@pytest.mark.parametrize("kind", list(KINDS))
def test_workers_are_exact_share_no_socket_and_flush_when_they_are_told_to_end(
    tmp_path: Path, redis_server: str, kind: str
) -> None:
    with gunicorn(tmp_path, redis_server, kind) as (port, process), ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: ask(port, "/a")[0], range(70)))
        assert (seen.count(200), seen.count(429)) == (50, 20)
        assert [ask(port, "/async")[0] for _ in range(4)] == [200] * 4
        told = look_inside(port, pool)
        look_at_connections(told, store_port=int(redis_server.rpartition(":")[2].partition("/")[0]))
        assert ask(port, "/login", "POST")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    wanted = {"/a": 70, "/async": 4, "/inside": len(told), "/login": 1}
    assert counted(tmp_path, "events", wanted) == wanted, (tmp_path / "log").read_text()
    deliver_the_rest(tmp_path, redis_server)
    assert counted(tmp_path, "rows", wanted) == wanted, (tmp_path / "log").read_text()


def look_inside(port: int, pool: ThreadPoolExecutor) -> list[dict[str, Any]]:
    """What the workers say of themselves, asked until both have."""
    told: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len({each["pid"] for each in told}) < 2 and time.monotonic() < deadline:
        told += [body for _, body in pool.map(lambda _: ask(port, "/inside"), range(8))]
    return told


def look_at_connections(told: list[dict[str, Any]], store_port: int) -> None:
    """Each worker has connections to the store of its own, beside those that its parent has left."""
    assert {each["health"] for each in told} == {"running"}
    own: dict[int, set[tuple[int, int]]] = {}
    for each in told:
        inherited = {tuple(pair) for pair in each["inherited"]}
        own.setdefault(each["pid"], set()).update({tuple(p) for p in each["connected"] if p[1] == store_port} - inherited)
    assert len(own) == 2
    assert all(own.values())
    assert not set.intersection(*own.values())


def counted(place: Path, what: str, wanted: Any) -> dict[str, int]:
    """How many events or rows there are for each path that was asked for."""
    found = Counter([path for file in place.glob(f"*.{what}") for path in file.read_text().split()])
    return {path: found[path] for path in wanted}


def deliver_the_rest(place: Path, store: str) -> None:
    """What a worker had no time to hand over, the next process does."""

    async def row(entries: list[Any]) -> None:
        with open(place / "later.rows", "a") as file:
            file.writelines([f"{entry.endpoint}\n" for entry in entries])

    app = Flask("later")
    lockwatch = LockWatch(
        app, redis_url=store, secret_key="0123456789abcdef", audit_sinks=[row], spool_dir=str(place / "spool"), store_timeout=10
    )
    lockwatch.engine.open_sync()
    lockwatch.flush()
    lockwatch.close()


UWSGI = """
import json, logging, sys, types
sys.modules["uwsgi"] = types.ModuleType("uwsgi")
sys.modules["uwsgi"].opt = json.loads(sys.argv[1])
from flask import Flask
from lockwatch_flask import LockWatch

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("lockwatch").addHandler(handler)
app = Flask("shop")
lockwatch = LockWatch(app, redis_url=sys.argv[2], store_timeout=10, secret_key="0123456789abcdef")
app.add_url_rule("/a", "a", lockwatch.limit("1/hour", count="failures")(lambda: "fine"))
statuses = [app.test_client().get("/a").status_code for _ in range(3)]
with app.app_context():
    used = [usage.used for usage in lockwatch.limits_of("ip:127.0.0.1")]
health = lockwatch.health()
print(json.dumps({"said": said, "status": health.status, "worker": health.worker, "statuses": statuses, "used": used}))
lockwatch.close()
"""


def under_uwsgi(options: dict[str, Any], store: str) -> dict[str, Any]:
    """What a process tells that finds itself in a uWSGI with these options."""
    command = [sys.executable, "-c", UWSGI, json.dumps(options), store]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_uwsgi_without_threads_is_told_at_the_start_and_settles_at_once(redis_server: str) -> None:
    told = under_uwsgi({"master": "true"}, redis_server)
    assert any("--enable-threads" in message for message in told["said"])
    assert told["status"] == "degraded"
    assert (told["statuses"], told["used"]) == ([200] * 3, [0])


@pytest.mark.parametrize("option", ["enable-threads", "threads"])
def test_uwsgi_with_threads_is_a_server_like_others(redis_server: str, option: str) -> None:
    told = under_uwsgi({"master": "true", option: "2"}, redis_server)
    assert told["said"] == []
    assert (told["status"], told["worker"], told["statuses"]) == ("ok", "running", [200] * 3)
