"""Without the extra, what needs it says so in a line, and nothing else breaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sqlmodel", "sqlalchemy", "alembic", "asyncpg", "aiosqlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
HINT = 'pip install "lockwatch[audit]"'


def python(code: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LOCKWATCH_DATABASE_URL": f"sqlite+aiosqlite:///{place}/audit.db"}
    command = [sys.executable, "-c", BLOCKED + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("command", ["audit query", "audit who x", "audit stats", "audit export", "db upgrade", "db current"])
def test_commands_say_what_to_install(command: str, tmp_path: Path) -> None:
    done = python(f"from lockwatch.cli import main\nmain({command.split()!r})", tmp_path)
    assert (done.returncode, done.stderr.count("\n"), HINT in done.stderr) == (2, 1, True), done.stderr


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///a.db", "postgresql://localhost/a"])
def test_a_logger_says_what_to_install(url: str, tmp_path: Path) -> None:
    code = f"""
from lockwatch import AuditLogEntry, AuditLogger, AuditQuery, ConfigurationError
AuditLogEntry(), AuditQuery()
try:
    AuditLogger({url!r}, spool_dir="none").query_sync()
except ConfigurationError as error:
    print(error)
"""
    done = python(code, tmp_path)
    assert HINT in done.stdout, done.stderr
