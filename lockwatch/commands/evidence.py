"""`lockwatch audit verify` and `lockwatch audit checkpoint`: is the log what was written, and sealing it so that one can tell."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

from lockwatch.audit import seals, sources
from lockwatch.audit.checkpoint import Anchor, Checkpoint, moment
from lockwatch.audit.findings import Finding, Gap
from lockwatch.audit.note import Note, VerifierKey
from lockwatch.audit.verify import Verification
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import EvidenceError, LockwatchError

_EVERY: Final = 20_000
"""Rows between two signs of progress."""


@click.command()
@click.argument("source", required=False)
@click.option("--checkpoints", metavar="FILE", help="Signed checkpoints of the log, kept elsewhere.")
@click.option("--public-key", "key", metavar="KEY", help="What they are signed with: a file, or the line name+id+key.")
@click.option("--excerpt", is_flag=True, help="SOURCE is a part of a log, by time: chains may begin and end anywhere.")
@click.option(
    "--show", type=click.IntRange(0), default=50, show_default=True, metavar="N", help="Print so many findings, count all."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: each finding, then a summary.")
def verify(source: str | None, checkpoints: str | None, key: str | None, excerpt: bool, show: int, as_json: bool) -> None:
    """Check that the audit log is what was written.

    SOURCE is the URL of a database, a SQLite file, an export in JSON lines or - for standard input; LOCKWATCH_DATABASE_URL when it
    is not given. Reports rows that were edited, moved, inserted, deleted or cut off, and losses the log declares itself. Needs no
    key of the application. Exit status 1 when something is not as it was written, 2 when that cannot be said.
    """
    if checkpoints is not None and key is None:
        raise Unusable("--checkpoints needs --public-key, the key they are signed with: checkpoint.pem.pub, for example")
    printed = _Printed(0 if as_json else show, as_json)
    public = _trouble(lambda: None if key is None else seals.load_verifier(key))
    sealed = _sealed(checkpoints, public, printed)
    check = run(_checked(source or database_of(None), sealed, public, excerpt, printed))
    _tell_summary(check, sealed if checkpoints is not None else None, printed, as_json)
    sys.exit(1 if printed.count else 0)


@click.command()
@database
@click.option("--key", "key_path", required=True, metavar="FILE", help="Ed25519 private key in PEM.")
@click.option("--file", "path", metavar="FILE", help="Where checkpoints are added.")
@click.option("--origin", default=seals.ORIGIN, show_default=True, metavar="NAME", help="Name of this log, in every checkpoint.")
@click.option("--generate-key", is_flag=True, help="Make the key, and FILE.pub to check with; seal nothing.")
@JSON
def checkpoint(url: str | None, key_path: str, path: str | None, origin: str, generate_key: bool, as_json: bool) -> None:
    """Seal how far the log has come, and print the signed checkpoint.

    Run it on a schedule, with a FILE that the users of the database cannot write, and send what it prints elsewhere too. When the
    log contradicts an earlier checkpoint, nothing is sealed and the exit status is 1.
    """
    if generate_key:
        public = str(_trouble(lambda: seals.generate_key(key_path, origin)).verifier)
        if as_json:
            print_json({"public_key": public})
        else:
            click.echo(public)
        return
    if path is None:
        raise Unusable("checkpoint needs --file, where checkpoints are added: --file checkpoints.txt, for example")
    signer = _trouble(lambda: seals.load_signer(key_path, origin))
    heads = run(_heads(database_of(url)))
    try:
        note = seals.CheckpointFile(path, signer).seal(heads, time.time_ns() // 1000)
    except EvidenceError as error:
        raise click.ClickException(str(error)) from None
    except LockwatchError as error:
        raise Unusable(str(error)) from None
    if as_json:
        print_json({"file": path, "checkpoint": None if note is None else str(note)})
    elif note is None:
        click.echo("no row is younger than the last checkpoint", err=True)
    else:
        click.echo(note, nl=False)


class _Printed:
    """Findings on their way out."""

    def __init__(self, show: int, as_json: bool) -> None:
        self.count = 0
        self._show = show
        self._as_json = as_json

    def take(self, findings: Iterable[Finding]) -> None:
        """Print and count."""
        for finding in findings:
            self.count += 1
            if self._as_json:
                click.echo(json.dumps(finding._asdict() | {"timestamp": finding.timestamp and moment(finding.timestamp)}))
            elif self.count <= self._show:
                click.echo(_line(finding))


async def _checked(
    source: Any, sealed: list[Checkpoint], key: VerifierKey | None, excerpt: bool, printed: _Printed
) -> Verification:
    async with sources.opened(source) as log:
        anchors = await log.anchors()
        printed.take(_unsigned(anchors, key))
        check = Verification(sealed, anchors, await log.parked(), excerpt)
        async for row in log.rows():
            printed.take(check.feed(row))
            if check.rows % _EVERY == 0:
                _tell_progress(check.rows)
        printed.take(check.finish())
        _tell_progress(0)
        return check


async def _heads(place: Any) -> Any:
    async with sources.opened(place) as log:
        return await log.heads()


def _sealed(path: str | None, key: VerifierKey | None, printed: _Printed) -> list[Checkpoint]:
    """The checkpoints up to the first that does not hold."""
    sealed: list[Checkpoint] = []
    if path is None or key is None:
        return sealed
    try:
        for found in seals.read_checkpoints(path, key):
            sealed.append(found)  # noqa: PERF402 - those before a fault count
    except EvidenceError as error:
        printed.take([Finding("checkpoint", "", 0, 0, None, None, str(error))])
    except LockwatchError as error:
        raise Unusable(str(error)) from None
    return sealed


def _unsigned(anchors: list[Anchor], key: VerifierKey | None) -> Iterable[Finding]:
    for anchor in anchors:
        if key is not None and not _is_signed(anchor, key):
            text = f"its rows up to {anchor.seq} are said to be pruned, without a signature of the key that was given"
            yield Finding("unsigned", anchor.process, 1, anchor.seq, None, None, text)


def _is_signed(anchor: Anchor, key: VerifierKey) -> bool:
    text, _, signatures = (anchor.signature or "").partition("\n\n")
    return f"{text}\n" == anchor.text and key.signed(Note(anchor.text, signatures))


def _tell_summary(check: Verification, sealed: list[Checkpoint] | None, printed: _Printed, as_json: bool) -> None:
    lost = sum(gap.lost for gap in check.gaps)
    if as_json:
        click.echo(json.dumps({"summary": _summary(check, sealed, printed, lost)}))
        return
    for gap in check.gaps:
        click.echo(_gap_line(gap))
    click.echo(f"rows: {check.rows:,}, of {check.chains:,} processes; gaps declared: {len(check.gaps):,}, of {lost:,} rows")
    if check.unprovable:
        click.echo(f"rows right after lost ones, which cannot be checked: {check.unprovable:,}")
    click.echo(_about_seals(check, sealed))
    if printed.count:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(check.found.items())) or "checkpoints or anchors"
        click.echo(f"NOT AS IT WAS WRITTEN, findings: {kinds}")
    else:
        click.echo("as it was written")


def _summary(check: Verification, sealed: list[Checkpoint] | None, printed: _Printed, lost: int) -> dict[str, Any]:
    return {
        "as_written": not printed.count,
        "findings": printed.count,
        "kinds": dict(check.found),
        "rows": check.rows,
        "processes": check.chains,
        "gaps": [gap._asdict() | {"timestamp": moment(gap.timestamp), "chain": gap.chain.hex()} for gap in check.gaps],
        "lost": lost,
        "uncheckable": check.unprovable,
        "checkpoints": None if sealed is None else len(sealed),
        "last_checkpoint": moment(sealed[-1].time_us) if sealed else None,
        "younger_than_checkpoint": check.after_sealed,
    }


def _about_seals(check: Verification, sealed: list[Checkpoint] | None) -> str:
    if sealed is None:
        return "no checkpoints were given: rows cut off at the end, or chains made anew, cannot be noticed"
    if not sealed:
        return "there is no checkpoint that holds"
    last = moment(sealed[-1].time_us)
    return f"checkpoints: {len(sealed):,}, the last of {last}; rows not sealed yet: {check.after_sealed:,}"


def _line(finding: Finding) -> str:
    when = moment(finding.timestamp) if finding.timestamp is not None else "-"
    rows = f"row {finding.seq}" if finding.seq == finding.until else f"rows {finding.seq} to {finding.until}"
    where = f"process {finding.process}  {rows}" if finding.process else "checkpoints"
    return _plain(f"{finding.kind:<10}  {when}  {where}  {finding.id or '-'}  {finding.text}")


def _gap_line(gap: Gap) -> str:
    rows = f"rows {gap.first} to {gap.last}" if gap.first else "rows without numbers"
    return _plain(f"gap         {moment(gap.timestamp)}  process {gap.process}  {rows}: {gap.lost} lost, {gap.reason}")


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _tell_progress(rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows:,} rows " if rows else "\r\x1b[K", nl=False, err=True)


def _trouble(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except LockwatchError as error:
        raise Unusable(str(error)) from None
