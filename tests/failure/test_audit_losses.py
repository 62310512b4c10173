"""What the audit log loses when things are taken away: real processes, a real PostgreSQL. `tests.stress audit` is the long run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.failure.audited import Application, Found, Load, Postgres, listening, until, verified
from tests.stress import audit

pytestmark = pytest.mark.timing  # kills and outages beside neighbours take as long as those let them


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for this file, which is stopped and started."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def postgres(server: Postgres) -> Postgres:
    """The server, without an audit log."""
    server.forget()
    return server


def answered(port: int, seconds: float = 1.0) -> Load:
    load = Load(port)
    asyncio.run(load.run(seconds))
    assert load.answered
    return load


@pytest.mark.parametrize("name", ["stopped", "crashing"])
def test_an_outage_of_the_database_loses_nothing_and_repeats_nothing(postgres: Postgres, name: str) -> None:
    found = asyncio.run(audit.trouble(name, postgres, postgres.port, partial(getattr(audit, name), postgres, 1.5)))
    assert (found.rows, found.twice, found.missing, found.gaps, found.as_written) == (found.answered, 0, 0, 0, True)
    assert found.answered > 20
    assert found.memory < 80 * 2**20


def test_a_way_that_stalls_and_hangs_up_loses_nothing_and_repeats_nothing(postgres: Postgres) -> None:
    found = asyncio.run(audit.behind_proxy(postgres, 3.0))
    assert (found.rows, found.twice, found.missing, found.gaps, found.as_written) == (found.answered, 0, 0, 0, True)


def test_a_killed_process_loses_no_more_than_the_last_moment(postgres: Postgres) -> None:
    found = asyncio.run(audit.kills(postgres, 4, random.Random(1)))
    assert (found.twice, found.as_written) == (0, True)
    assert found.window < 2.0  # 0.05 is what it is meant to be; a busy machine takes its time


@pytest.mark.parametrize("small", [0, 1_200_000], ids=["bounded files", "a small disk"])
def test_a_full_disk_is_survived_and_the_gaps_count_what_is_missing(postgres: Postgres, small: int) -> None:
    """Where no disk may be mounted, files are bounded both times."""
    found = asyncio.run(audit.full_disk(postgres, 16_000, small=small))
    assert found.missing == found.gaps > 0
    assert (found.twice, found.as_written) == (0, True)


def test_sigterm_delivers_everything(postgres: Postgres, tmp_path: Path) -> None:
    with listening() as listener:
        application = Application(postgres.url, tmp_path, listener).wait()
        load = answered(application.port)
        application.settled()
        asyncio.run(load.run(0.5))
        application.terminate()
    found = Found.at(postgres.url)
    assert (found.missing(load), found.twice) == ([], [])
    assert [path.name for path in tmp_path.glob("*/*")] == ["key"]


def test_sigterm_without_a_database_leaves_everything_to_the_next(postgres: Postgres, tmp_path: Path) -> None:
    with listening() as listener:
        first = Application(postgres.url, tmp_path, listener).wait()
        answered(first.port, 0.3)
        first.settled()
        postgres.stop()
        load = answered(first.port)
        first.terminate()
        postgres.start()
        second = Application(postgres.url, tmp_path, listener).wait()
        audit.adopted(second, tmp_path)
        assert second.health["adopted"] == 1
        second.terminate()
    found = Found.at(postgres.url)
    assert found.missing(load) == []
    assert verified(postgres.url)["as_written"]


def test_spools_of_another_namespace_or_user_are_told_and_left(postgres: Postgres, tmp_path: Path) -> None:
    postgres.stop()
    with listening() as listener:
        first = Application(postgres.url, tmp_path, listener, namespace="blog").wait()
        load = answered(first.port, 0.3)
        until(lambda: (seen := first.health)["written"] >= len(load.answered) and not seen["in_memory"] and seen["spool_bytes"] > 0)
        first.kill()
        (spool,) = tmp_path.glob("*/audit.*.db")
        (tmp_path / "lockwatch-4711").mkdir(mode=0o700)
        postgres.start()
        second = Application(postgres.url, tmp_path, listener).wait()
        second.ask("/p/1")
        second.settled()
        told = " ".join(second.health["foreign"])
        assert f"{spool.name}: of another namespace" in told
        assert "lockwatch-4711: of another user" in told
        assert (second.health["adopted"], spool.exists()) == (0, True)
        second.terminate()
        third = Application(postgres.url, tmp_path, listener, namespace="blog").wait()
        until(lambda: not spool.exists())
        third.settled()
        third.terminate()
    assert Found.at(postgres.url).missing(load) == []


def test_a_spool_is_there_before_the_first_row(postgres: Postgres, tmp_path: Path) -> None:
    with listening() as listener:
        application = Application(postgres.url, tmp_path, listener).wait()
        until(lambda: list(tmp_path.glob("*/audit.*.db")))
        assert application.health["written"] == 0
        application.terminate()


def test_a_forked_child_is_a_process_of_its_own(postgres: Postgres, tmp_path: Path) -> None:
    with listening() as listener:
        application = Application(postgres.url, tmp_path, listener).wait()
        load = answered(application.port, 0.3)
        assert application.ask("/-/fork/900000/50") == 0
        asyncio.run(load.run(0.3))
        audit.adopted(application, tmp_path)
        application.terminate()
    found = Found.at(postgres.url)
    assert (found.missing(load), found.twice) == ([], [])
    assert all(found.rows[number] for number in range(900_000, 900_050))
    checked = verified(postgres.url)
    assert (checked["as_written"], checked["processes"]) == (True, 2)
