"""Spools: bounded files in a directory of one's own, whole after a kill, usable on a full disk, adopted by their own kind only."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lockwatch.spool.database import Database, Full
from lockwatch.spool.directory import Directory, SpoolError, default_place, file_system
from lockwatch.spool.journal import Journal

READER = "postgres"


def journal(place: Path, namespace: str = "shop", most: int = 2**20) -> Journal:
    return Journal(Database(Directory(place, namespace).claim("audit"), most))


def adopted(place: Path, namespace: str = "shop") -> Journal | None:
    claim = Directory(place, namespace).adopt("audit")
    return None if claim is None else Journal(Database(claim))


def fill(spool: Journal, count: int, begin: int = 1) -> None:
    spool.append([(n, f"row {n}", b"x" * 100) for n in range(begin, begin + count)], {})


def dying(place: Path, body: str, *preamble: str) -> subprocess.CompletedProcess[str]:
    """Run a process that has a spool `journal` of the namespace ``shop``, and does not end well."""
    setup = f"""
    import os, resource, signal, sys
    from pathlib import Path
    from lockwatch.spool.database import Database, Full
    from lockwatch.spool.directory import Directory
    from lockwatch.spool.journal import Journal
    journal = Journal(Database(Directory(Path({str(place)!r}), "shop").claim("audit")))
    """
    code = textwrap.dedent(setup) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


# --------------------------------------------------------------- the directory
def test_nobody_else_can_look_into_a_spool(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = journal(tmp_path / "made" / "for it")
        fill(spool, 10)
    finally:
        os.umask(before)
    directory = spool.database.claim.path.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    found = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert set(found.values()) == {0o600}
    assert {".db", ".db-wal", ".ballast", ".lock"} <= set(found)


def test_a_directory_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = Directory(tmp_path, "shop").prepare()
    path.chmod(0o750)
    with pytest.raises(SpoolError, match="chmod 700"):
        journal(tmp_path)


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    Directory(tmp_path, "shop").path.symlink_to(elsewhere)
    with pytest.raises(SpoolError, match="link"):
        journal(tmp_path)
    assert not list(elsewhere.iterdir())


def test_a_link_in_the_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"k" * 32)
    (Directory(tmp_path, "shop").prepare() / "key").symlink_to(secret)
    with pytest.raises(SpoolError, match="key"):
        journal(tmp_path)


def test_a_place_that_cannot_be_written_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="spool_dir"):
        journal(tmp_path / "file")
    with pytest.raises(SpoolError, match="spool_dir"):
        journal(Path("/proc/nowhere"))


def test_the_type_of_a_file_system_is_known() -> None:
    assert file_system(Path("/proc")) == "proc"


def test_the_default_place_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_place() == tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_place().is_absolute()


# --------------------------------------------------------------- records
def test_what_every_reader_has_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    fill(spool, 10)
    spool.acknowledge({"postgres": 7, "stdout": 4}, ["postgres", "stdout"])
    assert [record.n for record in spool.after(0, 100)] == [5, 6, 7, 8, 9, 10]
    assert (spool.at("postgres"), spool.at("stdout"), spool.at("new"), spool.last) == (7, 4, 0, 10)


def test_a_file_that_is_empty_at_the_end_is_removed_and_one_that_is_not_stays(tmp_path: Path) -> None:
    empty, full = journal(tmp_path), journal(tmp_path)
    fill(full, 1)
    empty.close()
    full.close()
    names = {path.name for path in full.database.claim.path.parent.iterdir()}
    assert {name for name in names if name.endswith(".db")} == {full.database.claim.path.name}


def test_damage_is_seen_and_takes_no_other_record_along(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    fill(spool, 3)
    spool.database.connection.execute("UPDATE records SET body = ? WHERE n = 2", (b"y" * 100,))
    assert [(record.n, record.note, record.body is None) for record in spool.after(0, 10)] == [
        (1, "row 1", False),
        (2, "row 2", True),
        (3, "row 3", False),
    ]


def test_records_of_another_namespace_are_damaged_ones(tmp_path: Path) -> None:
    spool, other = journal(tmp_path), journal(tmp_path, "other")
    fill(spool, 1)
    rows = spool.database.connection.execute("SELECT * FROM records").fetchall()
    other.database.connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
    assert [record.body for record in other.after(0, 10)] == [None]


# --------------------------------------------------------------- full
def test_a_full_file_takes_nothing_keeps_everything_and_has_room_after_a_delivery(tmp_path: Path) -> None:
    spool = journal(tmp_path, most=256 * 1024)
    written = 0
    try:
        while written < 10_000:
            fill(spool, 50, written + 1)
            written += 50
    except Full:
        pass
    assert 0 < written < 10_000
    assert len(spool) == written
    assert spool.database.filled > 0.8
    spool.acknowledge({READER: written // 2}, [READER])
    fill(spool, 50, written + 1)
    assert spool.last == written + 50


FILL_UP = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
written = 0
try:
    while written < 100_000:
        journal.append([(n, "", b"x" * 1000) for n in range(written + 1, written + 51)], {})
        written += 50
except Full:
    pass
assert 0 < written < 100_000 and len(journal) == written
assert [record.n for record in journal.after(0, 10)] == list(range(1, 11))
journal.acknowledge({"a": written - 50}, ["a"])
journal.append([(written + 1, "", b"x" * 1000)], {})
print(len(journal))
"""


def test_a_disk_that_is_full_takes_deliveries_off_and_then_new_records(tmp_path: Path) -> None:
    done = dying(tmp_path, FILL_UP)
    assert (done.returncode, done.stdout.strip()) == (0, "51"), done.stderr


def test_ballast_is_given_up_and_made_again(tmp_path: Path) -> None:
    database = journal(tmp_path).database
    assert database.claim.ballast.stat().st_size == 256 * 1024
    database.drop_ballast()
    assert not database.claim.ballast.exists()
    assert database.trim_ballast()
    assert database.claim.ballast.exists()


# --------------------------------------------------------------- orphans
KILLED = """
journal.append([(n, "", b"%d" % n) for n in range(1, 101)], {"postgres": 5})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_adopted_once_and_whole(tmp_path: Path) -> None:
    assert dying(tmp_path, KILLED).returncode == -signal.SIGKILL
    first = adopted(tmp_path)
    assert first is not None
    assert adopted(tmp_path) is None
    assert first.at("postgres") == 5
    assert [record.body for record in first.after(0, 1000)] == [b"%d" % n for n in range(1, 101)]
    first.acknowledge({"postgres": 100}, ["postgres"])
    first.close()
    assert not list(first.database.claim.path.parent.glob("audit*"))


def test_a_live_process_keeps_its_spool(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    fill(spool, 1)
    assert adopted(tmp_path) is None
    spool.close()
    assert adopted(tmp_path) is not None


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_lets_go_leaves_the_lock_with_its_parent(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    child = os.fork()
    if child == 0:
        spool.database.claim.release()
        os._exit(0 if adopted(tmp_path) is None else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_another_namespace_is_reported_and_not_adopted(tmp_path: Path) -> None:
    assert dying(tmp_path, KILLED).returncode == -signal.SIGKILL
    assert adopted(tmp_path, "other") is None
    assert [text.partition(": ")[2] for text in Directory(tmp_path, "other").foreign()] == [
        "of another namespace than 'other'",
    ]
    assert Directory(tmp_path, "shop").foreign() == ()


def test_another_user_is_reported_and_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "lockwatch-99999").mkdir()
    assert Directory(tmp_path, "shop").foreign() == ("lockwatch-99999: of another user",)
    assert adopted(tmp_path) is None


def test_a_lock_without_a_spool_is_tidied_up(tmp_path: Path) -> None:
    directory = Directory(tmp_path, "shop")
    claim = directory.claim("audit")
    claim.path.unlink()
    claim.release()
    assert directory.adopt("audit") is None
    assert not claim.path.with_suffix(".lock").exists()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    claim = Directory(tmp_path, "shop").claim("audit")
    claim.path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(SpoolError):
        Journal(Database(claim))


def test_two_spools_of_one_process_do_not_meet(tmp_path: Path) -> None:
    spools = [journal(tmp_path), journal(tmp_path)]
    for spool in spools:
        fill(spool, 5)
    assert [len(spool) for spool in spools] == [5, 5]
