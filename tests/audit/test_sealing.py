"""Checkpoints made by the application itself: on a schedule, at its end, and of what dead processes left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from lockwatch import ConfigurationError, LockWatch
from lockwatch.audit import upgrades
from lockwatch.audit.checkpoint import Checkpoint, Head
from lockwatch.audit.connect import Database
from lockwatch.audit.sealing import Sealer, Seals
from lockwatch.audit.seals import CheckpointFile, generate_key, load_signer, load_verifier, read_checkpoints
from tests.audit.rows import NOW
from tests.audit.tampering import command, findings, sql, summary
from tests.edges.asgi import http

OFTEN, NEVER = 0.05, 86_400


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a key."""
    generate_key(tmp_path / "key.pem")
    return tmp_path


@pytest.fixture
def log_url(audit_url: str) -> str:
    """A database with its tables: making them may take longer than an application waits at its end."""
    asyncio.run(upgrades.upgrade(Database.of(audit_url)))
    return audit_url


@pytest.fixture
def file_url(sqlite_url: str) -> str:
    """The same, SQLite."""
    asyncio.run(upgrades.upgrade(Database.of(sqlite_url)))
    return sqlite_url


def make(place: Path, url: Any, seconds: float, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    sealing = {"audit_checkpoints": place / "seals.txt", "audit_checkpoint_key": place / "key.pem"}
    given = {"audit_sinks": [url], "spool_dir": place / "spools", "audit_checkpoint_seconds": seconds, **sealing, **options}
    return app, LockWatch(app, **given)


def sealed(place: Path) -> list[Checkpoint]:
    path = place / "seals.txt"
    return list(read_checkpoints(path, load_verifier(f"{place}/key.pem.pub"))) if path.exists() else []


def verify(place: Path, url: str) -> Any:
    return command("verify", url, "--json", "--checkpoints", f"{place}/seals.txt", "--public-key", f"{place}/key.pem.pub")


async def arrived(lockwatch: LockWatch) -> None:
    """Until every row is where it belongs."""
    await until(lambda: (health := lockwatch.health().audit) is not None and not health.pending)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_arrived_is_sealed_on_a_schedule_and_at_the_end(log_url: str, place: Path) -> None:
    app, lockwatch = make(place, log_url, OFTEN)
    for n in range(3):
        await http(app, "GET", f"/p/{n}")
        await arrived(lockwatch)
    await until(lambda: sealed(place))
    await http(app, "GET", "/p/3")
    await arrived(lockwatch)
    await lockwatch.aclose()
    heads = [head.seq for checkpoint in sealed(place) for head in checkpoint.heads]
    assert heads == sorted(set(heads))
    assert heads[-1] == 4
    checked = await asyncio.to_thread(verify, place, log_url)
    assert (findings(checked), summary(checked)["rows"]) == ([], 4)
    await asyncio.to_thread(sql, log_url, "DELETE FROM lockwatch_audit_log WHERE seq > 2")
    cut = findings(await asyncio.to_thread(verify, place, log_url))
    assert [(kind, first, last) for kind, _, first, last in cut] == [("truncated", 3, 4)]


async def test_the_end_alone_seals_where_the_schedule_is_slow(file_url: str, place: Path) -> None:
    app, lockwatch = make(place, file_url, NEVER)
    await http(app, "GET", "/p")
    await arrived(lockwatch)
    assert sealed(place) == []
    await lockwatch.aclose()
    assert [head.seq for head in sealed(place)[0].heads] == [1]
    await lockwatch.aclose()
    assert len(sealed(place)) == 1


async def test_applications_and_the_command_add_to_one_file(file_url: str, place: Path) -> None:
    (one, first), (other, second) = (make(place, file_url, NEVER) for _ in range(2))
    for app, lockwatch in ((one, first), (other, second)):
        await http(app, "GET", "/p")
        await arrived(lockwatch)
    words = ("--database", file_url, "--key", f"{place}/key.pem", "--file", f"{place}/seals.txt")
    assert (await asyncio.to_thread(command, "checkpoint", *words)).exit_code == 0
    await http(other, "GET", "/p")
    await arrived(second)
    for lockwatch in (first, second):
        await lockwatch.aclose()
    assert [[head.seq for head in checkpoint.heads] for checkpoint in sealed(place)] == [[1, 1], [2]]
    assert findings(await asyncio.to_thread(verify, place, file_url)) == []


async def test_what_a_dead_process_left_is_sealed_by_who_delivers_it(file_url: str, place: Path) -> None:
    name = file_url.replace("+aiosqlite", "")
    app, lockwatch = make(place, file_url, NEVER, audit_sinks=[_Down(name)])
    for _ in range(3):
        await http(app, "GET", "/p")
    await lockwatch.aclose()
    assert sealed(place) == []
    app, lockwatch = make(place, file_url, OFTEN)
    await http(app, "GET", "/p")
    await until(lambda: sum(len(checkpoint.heads) for checkpoint in sealed(place)) >= 2)
    await arrived(lockwatch)
    await lockwatch.aclose()
    last = {head.process: head.seq for checkpoint in sealed(place) for head in checkpoint.heads}
    assert sorted(last.values()) == [1, 3]
    assert findings(await asyncio.to_thread(verify, place, file_url)) == []


class _Down:
    """The database while it is away."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def write(self, rows: Any) -> None:
        from lockwatch.errors import SinkError

        raise SinkError("away")

    async def aclose(self) -> None: ...


async def test_a_checkpoint_that_cannot_be_made_is_told_and_made_later(file_url: str, place: Path) -> None:
    (place / "seals.txt").mkdir()
    app, lockwatch = make(place, file_url, OFTEN)
    await http(app, "GET", "/p")
    await arrived(lockwatch)
    await until(lambda: lockwatch.health().status == "degraded")
    health = lockwatch.health().audit
    assert health is not None
    assert any("no checkpoint can be made" in problem for problem in health.problems)
    assert (await http(app, "GET", "/p")).status == 404
    (place / "seals.txt").rmdir()
    await arrived(lockwatch)
    await until(lambda: lockwatch.health().status == "ok")
    await lockwatch.aclose()
    assert sealed(place)[-1].heads[0].seq == 2


async def test_nothing_is_sealed_before_its_time_or_twice(place: Path) -> None:
    now = [0.0]
    sealer = Sealer(Seals(f"{place}/seals.txt", load_signer(place / "key.pem"), 60), clock=lambda: now[0])
    sealer.note(Head("aa", 1, bytes(32)))
    assert not sealer.due
    now[0] = 60
    assert sealer.due
    await sealer.seal()
    now[0] = 300
    assert not sealer.due
    await sealer.finish()
    assert len(sealed(place)) == 1


def test_a_head_behind_what_is_sealed_is_left_out_where_that_may_be(place: Path) -> None:
    file = CheckpointFile(place / "seals.txt", load_signer(place / "key.pem"))
    file.seal([Head("aa", 5, bytes(32))], NOW)
    assert file.seal([Head("aa", 4, bytes(32))], NOW, behind=True) is None
    assert file.seal([Head("aa", 4, bytes(32)), Head("bb", 1, bytes(32))], NOW, behind=True) is not None


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"audit_checkpoint_key": None}, "audit_checkpoint_key='checkpoint.pem'"),
        ({"audit_checkpoints": None}, "audit_checkpoints='checkpoints.txt'"),
        ({"audit_checkpoints": "/nowhere/at/all/seals.txt"}, "a directory that does not exist"),
        ({"audit_checkpoint_key": "/nowhere/key.pem"}, "cannot be read"),
        ({"audit_checkpoint_origin": "a b"}, "shop.example/audit"),
        ({"audit_checkpoint_seconds": 0}, "from 0.05 to 86400"),
    ],
    ids=["no key", "no file", "no directory", "no such key", "origin", "seconds"],
)
def test_options_that_cannot_work_say_what_would(place: Path, options: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        make(place, "stdout:", **{"seconds": NEVER, **options})
