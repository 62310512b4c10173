"""The doctor, as the tests call it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockwatch.cli import main
from lockwatch.diagnosis.surroundings import PLATFORMS
from tests.operators.patients import FASTAPI, PASSWORD, Check, Told


@pytest.fixture
def bare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as the current one, and an environment in which nothing stands."""
    for name in (
        *PLATFORMS,
        "WEB_CONCURRENCY",
        "UVICORN_WORKERS",
        "FORWARDED_ALLOW_IPS",
        "GUNICORN_CMD_ARGS",
        "REDIS_URL",
        "COLUMNS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
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
        name = f"shop{count}_{bare_place.name.replace('-', '_')}"
        for variable, value in environ.items():
            monkeypatch.setenv(variable, value)
        if source is not None:
            (bare_place / f"{name}.py").write_text(source.format(options=options, more=more))
        invalidate_caches()
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
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(bare_place)):
            del sys.modules[name]
