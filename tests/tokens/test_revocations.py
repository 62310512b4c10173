"""Revocations that outlive their process: killed before the store heard them, and lost by a store after the process has gone."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from lockwatch import JWTConfig, LockWatch, StoreError, TokenError
from lockwatch.flow import Call
from lockwatch.revocations import DurableRevocations
from lockwatch.spool.directory import Directory
from lockwatch.tokens.failover import Kept
from tests import servers

SECRET = "a secret of at least 32 characters"


def make(url: str | None, place: Path | None, **options: Any) -> LockWatch:
    spool_dir = None if place is None else str(place)
    return LockWatch(redis_url=url, jwt=JWTConfig(jwt_secret=SECRET), secret_key=SECRET, spool_dir=spool_dir, **options)


def kept(n: int, at: float = 0.0, said: bool = False) -> Kept:
    return Kept(Call("revoke", (f"shop:1:sessions:{{{n}}}", "k"), (0, 4, 5, 0), words=(f"family{n}",)), at, said)


def files(place: Path) -> list[Path]:
    return sorted(place.rglob("revocations.*.db"))


def until_revoked(lockwatch: LockWatch, token: str) -> None:
    """The background says it, soon after the application began to use its store."""
    ends = time.monotonic() + 30
    while True:
        try:
            lockwatch.tokens.verify_access_sync(token)
        except TokenError:
            return
        assert time.monotonic() < ends, "the revocation was never said"
        time.sleep(0.05)


# ------------------------------------------------------------ a process that is killed
REVOKES = """
import os, signal, sys
from lockwatch import JWTConfig, LockWatch, StoreError
url, place, secret, session = sys.argv[1:]
lockwatch = LockWatch(redis_url=url, jwt=JWTConfig(jwt_secret=secret), secret_key=secret, spool_dir=place)
try:
    lockwatch.tokens.revoke_family_sync(session)
except StoreError:
    print("not heard", flush=True)
else:
    print("heard", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def revoke_and_die(url: str, place: Path, session: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", REVOKES, url, str(place), SECRET, session], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


def test_what_the_store_did_not_hear_before_the_process_was_killed_is_said_by_the_next(redis_server: str, tmp_path: Path) -> None:
    login = make(redis_server, None)
    pair, other = login.tokens.issue_token_pair_sync("alice"), login.tokens.issue_token_pair_sync("bob")
    session = login.tokens.verify_access_sync(pair.access_token).family or ""
    assert revoke_and_die(f"redis://127.0.0.1:{servers.free_port()}/0", tmp_path, session) == "not heard"
    assert login.tokens.verify_access_sync(pair.access_token)["sub"] == "alice"
    following = make(redis_server, tmp_path)
    assert following.tokens.verify_access_sync(other.access_token)["sub"] == "bob"
    until_revoked(following, pair.access_token)
    assert login.tokens.verify_access_sync(other.access_token)["sub"] == "bob"
    for each in (login, following):
        each.engine.close()


def test_what_the_store_lost_after_the_process_was_killed_is_said_by_the_next(redis_server: str, tmp_path: Path) -> None:
    login = make(redis_server, None)
    pair = login.tokens.issue_token_pair_sync("alice")
    session = login.tokens.verify_access_sync(pair.access_token).family or ""
    with redis.Redis.from_url(redis_server) as client:
        (key,) = [key for key in client.scan_iter() if b":sessions:" in key]
        before = client.dump(key)
        assert revoke_and_die(redis_server, tmp_path, session) == "heard"
        with pytest.raises(TokenError):
            login.tokens.verify_access_sync(pair.access_token)
        client.restore(key, 60_000, before, replace=True)  # as a replica that takes over without the last write
    assert login.tokens.verify_access_sync(pair.access_token)["sub"] == "alice"
    following = make(redis_server, tmp_path)
    following.tokens.sessions_sync("alice")
    until_revoked(following, pair.access_token)
    for each in (login, following):
        each.engine.close()


async def test_what_was_not_heard_is_said_as_soon_as_the_store_answers_without_anybody_asking(tmp_path: Path) -> None:
    server = servers.start_redis("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    lockwatch = make(f"redis://127.0.0.1:{server.port}/0", tmp_path / "spools", store_timeout=1)
    pair = await lockwatch.tokens.issue_token_pair("alice")
    session = (await lockwatch.tokens.verify_access(pair.access_token)).family or ""
    server.popen.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreError):
        await lockwatch.tokens.revoke_family(session)
    server.popen.send_signal(signal.SIGCONT)
    other = make(f"redis://127.0.0.1:{server.port}/0", None, store_timeout=5)
    until_revoked(other, pair.access_token)
    other.engine.close()
    await lockwatch.aclose()
    server.stop()


# ------------------------------------------------------------ the file
def test_revocations_survive_and_a_file_goes_when_nothing_is_left_to_say(tmp_path: Path) -> None:
    directory = Directory(tmp_path, "shop")
    one = DurableRevocations(directory)
    assert (one.adopt(), files(tmp_path)) == (0, [])
    for n in range(3):
        one.keep(kept(n, at=float(n)))
    one.settle(kept(1, at=1.0), kept(1, at=1.0, said=True))
    one.settle(kept(2, at=2.0), None)
    expected = (kept(0, at=0.0), kept(1, at=1.0, said=True))
    assert one.due(2.0) == expected
    one.close()
    two = DurableRevocations(directory)
    assert two.adopt() == 2
    assert two.due(2.0) == expected
    assert len(files(tmp_path)) == 1
    for each in expected:
        two.settle(each, None)
    two.close()
    assert files(tmp_path) == []


def test_a_file_of_a_process_that_lives_is_left_alone_and_so_is_one_of_another_namespace(tmp_path: Path) -> None:
    living = DurableRevocations(Directory(tmp_path, "shop"))
    living.keep(kept(1))
    assert DurableRevocations(Directory(tmp_path, "shop")).adopt() == 0
    living.close()
    assert DurableRevocations(Directory(tmp_path, "another")).adopt() == 0
    assert DurableRevocations(Directory(tmp_path, "shop")).adopt() == 1


def test_a_row_that_is_damaged_is_lost_alone_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = DurableRevocations(Directory(tmp_path, "shop"))
    one.keep(kept(1))
    one.keep(kept(2))
    one.close()
    (file,) = files(tmp_path)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE revocations SET sum = x'00' WHERE instr(body, ?)", (b"family1",))
    connection.close()
    two = DurableRevocations(Directory(tmp_path, "shop"))
    assert two.adopt() == 1
    assert two.due(0.0) == (kept(2),)
    assert "1 revocations" in caplog.text
    two.close()


def test_where_the_disk_fails_memory_goes_on_and_health_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "file"
    place.write_text("no directory")
    lockwatch = make(None, place)
    pair = lockwatch.tokens.issue_token_pair_sync("alice")
    lockwatch.tokens.revoke_subject_sync("alice")
    with pytest.raises(TokenError):
        lockwatch.tokens.verify_access_sync(pair.access_token)
    (warning,) = [w for w in lockwatch.health().warnings if "memory only" in w]
    assert "spool_dir" in warning
    assert len([record for record in caplog.records if "memory only" in record.message]) == 1
    lockwatch.engine.close()


def test_a_file_holds_no_subject_and_no_token(tmp_path: Path) -> None:
    lockwatch = make(None, tmp_path)
    pairs = [lockwatch.tokens.issue_token_pair_sync("alice@example.com") for _ in range(3)]
    lockwatch.tokens.revoke_token_sync(pairs[0].refresh_token)
    lockwatch.tokens.blacklist_access_token_sync(pairs[1].access_token)
    lockwatch.tokens.revoke_subject_sync("alice@example.com")
    found = b"".join(path.read_bytes() for path in tmp_path.rglob("revocations.*"))
    assert found
    for text in ("alice", *[part for pair in pairs for part in (*pair.access_token.split("."), pair.refresh_token)]):
        assert text.encode() not in found
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*") if path.name != "file"} == {0}
    lockwatch.engine.close()


def test_the_file_is_bounded_by_what_is_remembered(tmp_path: Path) -> None:
    spool = DurableRevocations(Directory(tmp_path, "shop"))
    for n in range(20):
        spool.keep(kept(n, at=float(n), said=True))
    spool.keep(kept(99, at=310.5, said=True))  # what was said 300 seconds ago and longer is forgotten
    (file,) = files(tmp_path)
    with sqlite3.connect(file) as connection:
        count = connection.execute("SELECT count(*) FROM revocations").fetchone()[0]
    connection.close()
    assert count == len(spool) == 10
    spool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_a_file_of_its_own_and_leaves_the_others_alone(tmp_path: Path) -> None:
    spool = DurableRevocations(Directory(tmp_path, "shop"))
    spool.keep(kept(1))
    child = os.fork()
    if child == 0:
        fine = len(spool) == 0 and spool.adopt() == 0
        spool.keep(kept(2))
        fine = fine and len(files(tmp_path)) == 2
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    spool.keep(kept(3))
    assert [each.call.words for each in spool.due(0.0)] == [("family1",), ("family3",)]
    assert spool.adopt() == 1, "the child's"
    spool.close()


def test_one_that_nobody_closed_leaves_its_file_to_the_next_and_no_warning(tmp_path: Path) -> None:
    spool = DurableRevocations(Directory(tmp_path, "shop"))
    spool.keep(kept(1))
    del spool
    gc.collect()
    following = DurableRevocations(Directory(tmp_path, "shop"))
    assert following.adopt() == 1
    following.close()
