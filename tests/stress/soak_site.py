"""The example applications in processes of their own, on a Valkey and a PostgreSQL, and what happens to these."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.examples.chronobot.accounts import Accounts as Chatters
from docs.examples.livestotell.accounts import Accounts as Authors
from tests import servers
from tests.audit.stored import fetch
from tests.audit.tampering import command, sql
from tests.failure.audited import Postgres, until
from tests.stress.soak_clients import PASSWORD
from tests.stress.soak_memory import FOLDER

ROOT = Path(__file__).parents[2]
CHEAP = 2
"""What a password costs here: the load is for lockwatch."""
NAMES = ("chronobot", "livestotell")
CHRONOBOT = """
import socket, sys, uvicorn
from docs.examples.chronobot import create_app
from tests.stress.soak_memory import install
install()
config = uvicorn.Config(create_app(), log_level="critical", proxy_headers=False, timeout_graceful_shutdown=10, backlog=512)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
LOOKED_INTO = ("-c", "python:tests.stress.soak_memory", "--log-level", "critical")
GUNICORN = ("-m", "gunicorn", "-k", "gthread", "-w", "2", "--threads", "8", "--graceful-timeout", "20", *LOOKED_INTO)


@dataclass
class Found:
    """What is in the audit logs.

    Attributes:
        statuses: of the rows of requests, by their ids.
        twice: ids with more than one row.
        folded: requests that share a row with others, because they were refused together.
        gaps: events that gaps declare lost.
        kinds: how many events of each kind there are.
    """

    statuses: dict[str, int]
    twice: int
    folded: int
    gaps: int
    kinds: Counter[str]


class Site:
    """Two processes of Chronobot and a gunicorn with two workers of Livestotell. One process of each lives as long as the site."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = servers.start_redis("--appendonly", "no")
        self.postgres = Postgres()
        until(self.postgres.answers)
        for name in NAMES:
            sql(self.postgres.url, f"CREATE DATABASE {name}")
            (place / name).mkdir()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.ports = {"chronobot": self.listener.getsockname()[1], "livestotell": servers.free_port()}
        self._log = open(place / "log", "wb")  # noqa: SIM115  # closed with the site

    def url(self, name: str) -> str:
        """Of the database of an application."""
        return f"postgresql://postgres@127.0.0.1:{self.postgres.port}/{name}"

    def people(self, chatters: dict[str, str], authors: list[str]) -> None:
        """Make accounts: users of Chronobot with their plans, users of Livestotell."""
        of_chronobot = Chatters(self.place / "chronobot/accounts.db", CHEAP)
        for name, plan in chatters.items():
            of_chronobot.add(name, PASSWORD, plan)
        of_livestotell = Authors(self.place / "livestotell/accounts.db", CHEAP)
        for name in ("admin", *authors):
            of_livestotell.add(name, PASSWORD)
        of_chronobot.add("admin", PASSWORD)

    def start(self) -> None:
        """Start the applications, and wait until they answer."""
        self.bots = [self._bot(), self._bot()]
        bind = ("-b", f"127.0.0.1:{self.ports['livestotell']}", "docs.examples.livestotell:create_app()")
        self.gunicorn = self._run("livestotell", *GUNICORN, *bind)
        for port in self.ports.values():
            until(lambda port=port: _answers(port), 120)
        until(lambda: len(self.workers) == 2, 60)
        self.lasting = {"chronobot": self.bots[0].pid, "livestotell": self.workers[0]}

    def _bot(self) -> subprocess.Popen[bytes]:
        number = self.listener.fileno()
        return self._run("chronobot", "-c", CHRONOBOT, str(number), pass_fds=[number])

    def _run(self, name: str, *words: str, pass_fds: list[int] | None = None) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            FOLDER: str(self.place),
            f"{name.upper()}_DATA": str(self.place / name),
            "XDG_STATE_HOME": str(self.place),
            "LOCKWATCH_REDIS_URL": f"redis://127.0.0.1:{self.store.port}/0",
            "LOCKWATCH_DATABASE_URL": self.url(name),
            "LOCKWATCH_TRUSTED_PROXIES": "private",
            "LOCKWATCH_STORE_TIMEOUT": "2",
            "LOCKWATCH_ACCESS_TOKEN_TTL": "20",
        }
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.place,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            pass_fds=pass_fds or [],
        )

    @property
    def workers(self) -> list[int]:
        """Those of gunicorn, the oldest first."""
        return [int(pid) for pid in Path(f"/proc/{self.gunicorn.pid}/task/{self.gunicorn.pid}/children").read_text().split()]

    def memory(self) -> dict[str, int]:
        """Bytes of the processes that last."""
        pages = {name: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for name, pid in self.lasting.items()}
        return {name: number * resource.getpagesize() for name, number in pages.items()}

    def look(self) -> None:
        """Have these processes write down what their memory is made of."""
        for pid in self.lasting.values():
            os.kill(pid, signal.SIGUSR2)

    def looked(self) -> dict[str, list[dict[str, Any]]]:
        """What they wrote."""
        files = {name: self.place / f"{pid}.jsonl" for name, pid in self.lasting.items()}
        return {name: [json.loads(line) for line in file.read_text().splitlines()] for name, file in files.items() if file.exists()}

    # ------------------------------------------------------------------- faults
    async def renew_bot(self) -> None:
        """One process of Chronobot ends, and another takes its place."""
        self.bots[1].terminate()
        await asyncio.to_thread(self.bots[1].wait, 60)
        self.bots[1] = self._bot()

    async def renew_worker(self) -> None:
        """One worker of Livestotell ends; gunicorn starts another."""
        if young := [pid for pid in self.workers if pid != self.lasting["livestotell"]]:
            os.kill(young[-1], signal.SIGTERM)

    async def without_postgres(self, seconds: float) -> None:
        """The database is away for a while."""
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.postgres.start)

    async def kill_store(self, seconds: float) -> None:
        """The store dies with all it knows; another begins with nothing."""
        self.store.popen.kill()
        await asyncio.to_thread(self.store.popen.wait)
        await asyncio.sleep(seconds)
        self.store = await asyncio.to_thread(servers.start_redis, "--appendonly", "no", port=self.store.port)

    def mend(self) -> None:
        """Bring back what a fault that was cut short has left away."""
        if self.store.popen.poll() is not None:
            self.store = servers.start_redis("--appendonly", "no", port=self.store.port)
        self.store.popen.send_signal(signal.SIGCONT)
        if self.postgres.stopped:
            self.postgres.start()
        until(self.postgres.answers, 60)

    async def freeze_store(self, seconds: float) -> None:
        """The store stands still, and goes on."""
        self.store.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.store.popen.send_signal(signal.SIGCONT)

    # ---------------------------------------------------------------------- end
    def stop(self) -> None:
        """End the applications as a deployment does."""
        for process in (*self.bots, self.gunicorn):
            process.terminate()
        for process in (*self.bots, self.gunicorn):
            process.wait(120)

    def found(self) -> Found:
        """What is in the audit logs, when all that processes left in their spools has been delivered."""
        statuses, rows, folded, gaps, kinds = dict[str, int](), 0, 0, 0, Counter[str]()
        for name in NAMES:
            drained = command(
                "drain", "--database", self.url(name), "--spool-dir", str(self.place / name / "spool"), "--namespace", name
            )
            assert drained.exit_code == 0, drained.output
            print(f"{name}: {drained.output.strip()}; {sorted(path.name for path in (self.place / name / 'spool').rglob('*'))}")
            for kind, action, request, status, number, details in fetch(self.url(name), _QUESTION):
                kinds[kind] += number
                if action == "gap":
                    gaps += json.loads(details)["count"]
                if kind == "http":
                    rows += 1
                    folded += number - 1
                    statuses[request] = status
        return Found(statuses, rows - len(statuses), folded, gaps, kinds)

    def said(self) -> str:
        """The last that the applications wrote to their log."""
        return (self.place / "log").read_text("utf-8", "replace")[-8000:]

    def close(self) -> None:
        """Stop the servers."""
        for process in (*self.bots, self.gunicorn):
            if process.poll() is None:
                process.kill()
                process.wait()
        self.store.stop()
        self.postgres.close()
        self.listener.close()
        self._log.close()


_QUESTION = "SELECT kind, action, request_id, status_code, count, details FROM lockwatch_audit_log"


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            connection.settimeout(10)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        time.sleep(0.1)
        return False
