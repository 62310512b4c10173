"""The tables come and go by migrations: on every PostgreSQL there is and on SQLite, beside an application with its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy.ext.asyncio import create_async_engine

from lockwatch.audit import models, upgrades
from lockwatch.audit.address import Address
from lockwatch.audit.connect import Database
from lockwatch.audit.row import COLUMNS
from lockwatch.cli import main
from tests.test_wheel import run, uv

ROOT = Path(__file__).parent.parent.parent
TABLES = {"lockwatch_audit_log", "lockwatch_audit_parked", "lockwatch_audit_anchor", "lockwatch_audit_setting"}


def tables(url: str) -> set[str]:
    async def look() -> set[str]:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda c: set(sa.inspect(c).get_table_names()))
        await engine.dispose()
        return found

    return asyncio.run(look())


def execute(url: str, *statements: str) -> list[Any]:
    """Run statements; the rows of the last."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///")) as file:
            found = [file.execute(statement).fetchall() for statement in statements][-1]
        file.close()
        return found

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        found = [await connection.fetch(statement) for statement in statements][-1]
        await connection.close()
        return [tuple(row) for row in found]

    return asyncio.run(ask())


def test_the_model_has_the_columns_of_a_row() -> None:
    assert tuple(models.AuditLog.__table__.c.keys()) == COLUMNS


def test_the_newest_revision_is_the_one_the_code_knows() -> None:
    assert ScriptDirectory.from_config(upgrades.configuration()).get_current_head() == upgrades.HEAD


def test_tables_come_and_go(url: str) -> None:
    database = Database.of(url)
    assert asyncio.run(upgrades.current(database)) is None
    for _ in range(2):
        asyncio.run(upgrades.upgrade(database))
        assert asyncio.run(upgrades.current(database)) == upgrades.HEAD
        assert tables(url) >= TABLES
    asyncio.run(upgrades.downgrade(database, "base"))
    assert not tables(url) & TABLES
    asyncio.run(upgrades.upgrade(database))
    assert tables(url) >= TABLES


def test_tables_that_are_there_are_used_without_alembic(url: str) -> None:
    """Importing it takes a second or more, of which the first rows would have to wait."""
    asyncio.run(upgrades.upgrade(Database.of(url)))
    script = f"""
import asyncio, sys
from lockwatch.audit import upgrades
from lockwatch.audit.connect import Database
from lockwatch.audit.sinks import sink_of
from tests.audit.rows import rows
async def main():
    sink = sink_of({url!r})
    await sink.write(rows(2))
    await sink.aclose()
    await upgrades.upgrade(Database.of({url!r}))
    assert await upgrades.current(Database.of({url!r})) == upgrades.HEAD
asyncio.run(main())
print([name for name in sys.modules if name.partition(".")[0] in ("alembic", "sqlmodel")])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert execute(url, "SELECT count(*) FROM lockwatch_audit_log") == [(2,)]


def test_the_tables_are_those_of_the_models(url: str) -> None:
    database = Database.of(url)
    asyncio.run(upgrades.upgrade(database))
    if database.dialect == "postgresql":
        execute(url, "SELECT lockwatch_audit_partition(now())")
    command.check(upgrades.configuration(database.address))


def test_processes_that_upgrade_at_once_wait_for_each_other(audit_url: str) -> None:
    environment = os.environ | {"LOCKWATCH_DATABASE_URL": audit_url}
    start = [sys.executable, "-m", "lockwatch.cli", "db", "upgrade"]
    running = [subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 2
    assert tables(audit_url) >= TABLES


def test_a_table_of_the_first_release_is_kept_beside(url: str) -> None:
    made = "CREATE TABLE lockwatch_audit_log (id integer PRIMARY KEY, ip varchar(45))"
    execute(url, made, "INSERT INTO lockwatch_audit_log VALUES (1, '192.0.2.1')")
    asyncio.run(upgrades.upgrade(Database.of(url)))
    assert execute(url, "SELECT id, ip FROM lockwatch_audit_log_0_1") == [(1, "192.0.2.1")]
    assert execute(url, "SELECT count(*) FROM lockwatch_audit_log") == [(0,)]
    asyncio.run(upgrades.downgrade(Database.of(url), "base"))
    assert execute(url, "SELECT id, ip FROM lockwatch_audit_log") == [(1, "192.0.2.1")]


def test_the_printed_sql_makes_the_tables(any_postgres_url: str) -> None:
    printed = CliRunner().invoke(main, ["db", "upgrade", "--sql", "--database", any_postgres_url])
    assert printed.exit_code == 0
    script = printed.output

    async def apply() -> str:
        connection = await asyncpg.connect(any_postgres_url)
        await connection.execute(script)
        made: str = await connection.fetchval("SELECT lockwatch_audit_partition('2026-11-24 10:00:00+00')")
        await connection.close()
        return made

    assert asyncio.run(apply()) == "lockwatch_audit_log_2026_11"


def test_the_commands(url: str) -> None:
    def lockwatch(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["db", *arguments, "--database", url])
        return done.exit_code, done.output

    assert lockwatch("current")[0] == 1
    assert lockwatch("upgrade")[1].endswith("no tables -> 0001\n")
    assert lockwatch("upgrade")[1].endswith(": 0001\n")
    assert lockwatch("current") == (0, f"{Address.of(url).shown}: 0001\n")
    assert lockwatch("upgrade", "nonsense")[0] == 2
    assert lockwatch("downgrade", "base", "--yes")[1].endswith(": no tables\n")


def test_alembic_works_from_a_checkout(audit_url: str) -> None:
    environment = os.environ | {"LOCKWATCH_DATABASE_URL": audit_url}
    alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
    done = subprocess.run(alembic, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tables(audit_url) >= TABLES


APPLICATION_ENV = """
import asyncio, os
from alembic import context
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True))
def theirs(name, kind, parents):
    return kind != "table" or not name.startswith("lockwatch_")
def migrate(connection):
    context.configure(connection=connection, target_metadata=metadata, include_name=theirs)
    with context.begin_transaction():
        context.run_migrations()
async def main():
    engine = create_async_engine(os.environ["APP_URL"])
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()
asyncio.run(main())
"""
APPLICATION_REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "0001", None
def upgrade(): op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
def downgrade(): op.drop_table("orders")
"""


def test_an_application_has_migrations_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Both in one database, with revisions of the same name; neither sees the tables of the other, nor partitions."""
    scripts = tmp_path / "application"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(APPLICATION_ENV)
    (scripts / "versions" / "v1.py").write_text(APPLICATION_REVISION)
    theirs = Config()
    theirs.set_main_option("script_location", str(scripts))
    theirs.set_main_option("path_separator", "os")
    monkeypatch.setenv("APP_URL", url.replace("postgresql://", "postgresql+asyncpg://"))
    database = Database.of(url)
    command.upgrade(theirs, "head")
    asyncio.run(upgrades.upgrade(database))
    if database.dialect == "postgresql":
        execute(url, "SELECT lockwatch_audit_partition(now())")
    command.check(theirs)
    command.check(upgrades.configuration(database.address))
    assert {name for name in tables(url) if not name[-1].isdigit()} == TABLES | {
        "orders",
        "alembic_version",
        "lockwatch_alembic_version",
    }
    asyncio.run(upgrades.downgrade(database, "base"))
    assert tables(url) == {"orders", "alembic_version", "lockwatch_alembic_version"}
    asyncio.run(upgrades.upgrade(database))
    command.downgrade(theirs, "base")
    assert tables(url) >= TABLES


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of an environment with the wheel and its extra, far from the checkout."""
    home = tmp_path_factory.mktemp("installed")
    run(uv(), "build", "--quiet", "--wheel", "--out-dir", home, ROOT, cwd=home)
    run(uv(), "venv", "--quiet", "--python", sys.executable, home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    run(uv(), "pip", "install", "--quiet", "--python", python, f"{next(home.glob('*.whl'))}[audit]", cwd=home)
    yield python
    shutil.rmtree(home)


def test_an_installed_wheel_migrates_up_and_down(installed: Path, tmp_path: Path, url: str) -> None:
    commands = [["upgrade"], ["downgrade", "base", "--yes"], ["upgrade"]]
    script = f"""
from lockwatch.cli import main
for arguments in {commands!r}:
    main(["db", *arguments, "--database", {url!r}], standalone_mode=False)
"""
    run(installed, "-W", "error", "-c", script, cwd=tmp_path)
    assert tables(url) >= TABLES


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("audit.db", "no scheme"),
        ("mysql://u:geheim@h/d", "the scheme 'mysql'"),
        ("postgresql+psycopg://u:geheim@h/d", "postgresql\\+asyncpg"),
        ("sqlite+aiosqlite://", "name a file"),
        ("postgresql://u:geheim@h/d?statement_cache_size=geheim", "statement_cache_size=0"),
        ("geheim", "no scheme"),
    ],
)
def test_a_url_that_cannot_be_says_which_can(url: str, part: str) -> None:
    with pytest.raises(ValueError, match=part) as caught:
        Address.of(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_the_spellings_of_a_postgres_url_are_one(scheme: str) -> None:
    address = Address.of(f"{scheme}://u:geheim@db.example:5433/audit?ssl=require")
    assert address.dsn == "postgresql://u:geheim@db.example:5433/audit?sslmode=require&application_name=lockwatch+audit"
    assert "geheim" not in repr(address)
    assert address.shown == "postgresql://u@db.example:5433/audit"


def test_a_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["db", "current", "--database", "postgresql://u:geheim@127.0.0.1:1/x"])
    assert done.exit_code == 2
    assert done.output.startswith("Error: the database does not answer")
    assert "geheim" not in done.output
