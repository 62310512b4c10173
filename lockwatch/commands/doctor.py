"""`lockwatch doctor`: what is wrong with a set-up, and the line that mends it. Nothing is changed, no secret is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from lockwatch.commands.application import ARGUMENT, GIVEN, OPTION, Found, found_at
from lockwatch.commands.layout import laid_out, width
from lockwatch.commands.plain import plain
from lockwatch.commands.trouble import Misconfigured, Unusable
from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.bare import middleware
from lockwatch.diagnosis.catalogue import CATALOGUE
from lockwatch.diagnosis.finding import Area, counted, worst_first
from lockwatch.diagnosis.look import examined, unmade
from lockwatch.diagnosis.patient import Patient
from lockwatch.errors import ConfigurationError


def _codes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(code) for code in CATALOGUE if code.startswith(incomplete)]


@click.command()
@ARGUMENT
@OPTION
@click.option("--strict", is_flag=True, help="Exit status 1 for warnings too.")
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="CODE",
    shell_complete=_codes,
    help="Leave out findings of this kind, like routes.unprotected. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, place: str | None, app: str | None, strict: bool, ignored: Sequence[str], as_json: bool) -> None:
    """Find what is wrong with a set-up, and say what to change.

    APP is the application, like main:app. It is imported, and its store and database are asked; nothing is changed. Without APP,
    only what the environment says is looked at. Give the command the environment and the directory that the application has.

    Exit status 1 when there is an error, 2 when it cannot be told.
    """
    text = place or app
    _check(ignored)
    try:
        areas = examined(_patient(found_at(text) if text or ctx.meta.get(GIVEN) else None))
    except Misconfigured as error:
        areas = [unmade(error.what, error.where)]
    except ConfigurationError as error:
        areas = [unmade(str(error), text or "environment")]
    areas = [area.without(ignored) for area in areas]
    found = worst_first(areas)
    failed = any(finding.severity == "error" or strict for finding in found)
    if as_json:
        click.echo(json.dumps(_data(text, areas), indent=2))
    else:
        for line in _lines(areas):
            click.echo(line)
    sys.exit(1 if failed else 0)


def _check(ignored: Sequence[str]) -> None:
    """Raises: Unusable, for a code there is not."""
    for code in ignored:
        if code not in CATALOGUE:
            near = get_close_matches(code, CATALOGUE, n=1, cutoff=0.4)
            raise Unusable(f"--ignore {code[:100]!r} is no kind of finding{f'; did you mean {near[0]}?' if near else ''}")


def _patient(found: Found | None) -> Patient:
    """Raises: ConfigurationError, Unusable."""
    environ, here = dict(os.environ), Path.cwd()
    if found is None:
        return Patient("", LockWatchConfig.from_mapping({}), environ, here)
    if found.lockwatch is not None:
        return _protected(found, environ, here)
    engine = middleware(found.application)
    config = LockWatchConfig.from_mapping({}) if engine is None else engine.config
    return Patient(found.name, config, environ, here, found.application, None, engine)


def _protected(found: Found, environ: Mapping[str, str], here: Path) -> Patient:
    """An application that has a `LockWatch`."""
    application = found.application
    if application is found.lockwatch and hasattr(application, "guards") and application.guards:
        application = application.guards[0].app
    with getattr(application, "app_context", nullcontext)():
        engine = found.lockwatch.engine
    try:
        overview, problem = found.overview(), ""
    except ConfigurationError as error:
        overview, problem = None, str(error)
    return Patient(found.name, engine.config, environ, here, application, found.lockwatch, engine, overview, problem)


def _data(name: str | None, areas: Sequence[Area]) -> dict[str, object]:
    found = worst_first(areas)
    return {
        "app": name,
        "status": "error" if any(f.severity == "error" for f in found) else "warning" if found else "ok",
        "areas": [{"name": area.name, "state": area.state, "summary": area.summary} for area in areas],
        "findings": [asdict(finding) | {"severity": finding.severity} for finding in found],
    }


def _lines(areas: Sequence[Area]) -> list[str]:
    columns = width()
    lines = laid_out(("state", "area", "seen"), [(area.state, area.name, plain(area.summary)) for area in areas], columns)
    for finding in worst_first(areas):
        cells = (f"{finding.severity}:", plain(finding.what), f"at {plain(finding.where)}", f"change: {plain(finding.change)}")
        lines += ["", f"{cells[0]} {cells[1]}", *(f"  {cell}" for cell in (*cells[2:], f"code: {finding.code}"))]
    found = worst_first(areas)
    errors = sum(finding.severity == "error" for finding in found)
    return [*lines, "", f"{counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}." if found else "Nothing is wrong."]
