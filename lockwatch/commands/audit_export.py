"""`lockwatch audit export`: rows for a SIEM or a spreadsheet, oldest first, in parts that go on where the last one ended."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import click

from lockwatch.audit import formats
from lockwatch.audit.entry import microseconds
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.audit.row import Row
from lockwatch.commands.audit_filters import filters, query_of
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.printed import print_json
from lockwatch.commands.trouble import Unusable

PAGE: Final = 5000
FORMATS: Final[dict[str, Callable[[Row], str]]] = {"jsonl": formats.json_row, "csv": formats.csv_row, "ecs": formats.ecs_row}


class Progress(NamedTuple):
    """How far a file has come: written beside it after every page, when the page is on the disk."""

    cursor: str
    bytes: int
    rows: int
    asked: str


@click.command()
@filters
@database
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True)
@click.option("--output", "path", type=click.Path(dir_okay=False), metavar="FILE", help="Write there; standard output by default.")
@click.option("--resume", is_flag=True, help="Go on with FILE where it ended, also after a crash. FILE.cursor says where.")
@click.option("--cursor", metavar="TEXT", help="Begin after the row it is of. Without FILE, standard error tells the last.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="With --output, print how far it came as JSON.")
def export(
    url: str | None, form: str, path: str | None, resume: bool, cursor: str | None, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Write out rows, oldest first.

    Without --until the last minute is left out, because its rows may still be on their way: the next export begins there.
    """
    if resume and path is None:
        raise Unusable("--resume needs --output FILE")
    if as_json and path is None:
        raise Unusable("--json tells how far it came, and needs --output FILE; the rows are JSON lines with --format jsonl")
    options["to_time"] = options["to_time"] or "1m"
    question = query_of(options, cursor=cursor)
    asked = _digest(question, form)
    before = _progress(Path(f"{path}.cursor"), asked) if resume else None
    if before is not None:
        question = replace(question, cursor=before.cursor)
    stream: IO[str] = sys.stdout if path is None else _opened(Path(path), before)
    try:
        done = run(_export(url, question, form, stream, before or Progress(cursor or "", 0, 0, asked), path, quiet))
    finally:
        if path is not None:
            stream.close()
    if as_json:
        print_json({"file": path, "format": form, "rows": done.rows, "cursor": done.cursor or None})
        return
    click.echo(f"{done.rows} rows{'' if path is None else f' in {path}'}", err=True)
    if path is None and done.cursor:
        click.echo(f"Go on with: --cursor {done.cursor}", err=True)


async def _export(
    url: str | None, question: AuditQuery, form: str, stream: IO[str], done: Progress, path: str | None, quiet: bool
) -> Progress:
    reader = Reader(database_of(url))
    spelled = FORMATS[form]
    try:
        if form == "csv" and done.bytes == 0:
            stream.write(formats.csv_head())
        with click.progressbar(length=1000, label="exporting", file=sys.stderr, hidden=quiet) as bar:
            async for rows, part in _parts(reader, question):
                stream.writelines(map(spelled, rows))
                done = done._replace(cursor=reader.cursor_of(rows[-1]), rows=done.rows + len(rows))
                if path is not None:
                    done = _kept(stream, done, Path(f"{path}.cursor"))
                bar.update(max(0, round(part * 1000) - bar.pos))
        return done
    finally:
        await reader.aclose()


async def _parts(reader: Reader, question: AuditQuery) -> AsyncIterator[tuple[list[Row], float]]:
    """Pages, and how much of the time asked about they have come through: counting the rows would take as long as the export."""
    first: int | None = None
    last = microseconds(question.to_time) if question.to_time else 0
    async for rows in reader.pages(question, PAGE):
        first = rows[0].timestamp if first is None else first
        yield rows, (rows[-1].timestamp - first) / max(last - first, 1)


def _kept(stream: IO[str], done: Progress, beside: Path) -> Progress:
    """Have what was written on the disk, then say so beside it."""
    stream.flush()
    os.fsync(stream.fileno())
    done = done._replace(bytes=os.fstat(stream.fileno()).st_size)
    fresh = beside.with_name(f"{beside.name}.new")
    fresh.write_text(json.dumps(done._asdict()), "utf-8")
    os.replace(fresh, beside)
    return done


def _progress(beside: Path, asked: str) -> Progress | None:
    """How far the file had come. Raises: Unusable, when it is of another question."""
    try:
        found = Progress(**json.loads(beside.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Unusable(f"{beside} cannot be read ({type(error).__name__}); export to a new file") from None
    if found.asked != asked:
        raise Unusable(f"{beside} is of an export with other filters or another format; use the same ones, or a new file")
    return found


def _opened(path: Path, before: Progress | None) -> IO[str]:
    """The file, for its owner alone; cut where its last whole page ended."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | (0 if before else os.O_TRUNC), 0o600)
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from None
    if before is not None:
        if os.fstat(number).st_size < before.bytes:
            os.close(number)
            raise Unusable(f"{path} is shorter than it was; export to a new file")
        os.ftruncate(number, before.bytes)
        os.lseek(number, 0, os.SEEK_END)
    return os.fdopen(number, "w", encoding="utf-8", newline="")


def _digest(question: AuditQuery, form: str) -> str:
    """The same for the same filters and format; when it ends and where it began do not count."""
    filters = {k: str(v) for k, v in asdict(question).items() if v is not None and k not in ("to_time", "from_time", "cursor")}
    return hashlib.sha256(json.dumps([form, filters], sort_keys=True).encode()).hexdigest()[:16]
