"""`lockwatch routes`: what protects each route of an application, for people and for CI."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import click

from lockwatch.commands import remembered
from lockwatch.commands.application import ARGUMENT, OPTION, overview_of
from lockwatch.commands.layout import laid_out, width
from lockwatch.diagnosis.coverage import Coverage, LimitOf, TokenOf, coverage, is_named, unprotected
from lockwatch.diagnosis.finding import counted

_HEAD = ("methods", "route", "limits", "tokens", "")
_NAMED = 8
"""Routes that are named one by one in a line."""


@click.command()
@ARGUMENT
@OPTION
@click.option("--limit", metavar="NAME", shell_complete=remembered.policies, help="Only routes that have this limit.")
@click.option(
    "--fail-on-unprotected",
    "strict",
    is_flag=True,
    help="Exit status 1 when a route has neither a limit that can refuse, nor a token, nor an exemption.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="PATTERN",
    help="Routes that may be unprotected, like '/health*' or 'GET /docs'. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def routes(place: str | None, app: str | None, limit: str | None, strict: bool, allowed: Sequence[str], as_json: bool) -> None:
    """List every route with its limits and what it asks of tokens.

    APP is the application, like main:app or main:create_app(); it is imported, and nothing is connected to. Routers, mounts,
    blueprints, classes of views and WebSockets are looked through.
    """
    overview = overview_of(place or app)
    engine = overview.engine
    found = list(coverage(overview))
    bare = unprotected(found, allowed)
    shown = [one for one in found if limit is None or any(part.policy == limit for part in one.limits)]
    if as_json:
        told = {
            "app": place or app,
            "mode": engine.mode,
            "store": engine.store_name,
            "routes": [one.data() for one in shown],
            "unprotected": [one.name for one in bare],
        }
        click.echo(json.dumps(told, indent=2))
    else:
        for line in laid_out(_HEAD, list(_rows(shown)), width()) if shown else ["No route has it." if limit else "There are none."]:
            click.echo(line)
        click.echo(f"\n{_summary(found, bare, engine.mode)}")
    for pattern in allowed:
        if not any(is_named(one, pattern) for one in found):
            click.echo(f"--allow {pattern!r} names no route.", err=True)
    sys.exit(1 if strict and bare else 0)


def _rows(found: Sequence[Coverage]) -> Iterator[tuple[str, ...]]:
    """A row for each template, and for each set of its methods that are protected alike."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in found:
        alike.setdefault((one.path, _limits(one.limits), _tokens(one.tokens), _note(one)), []).append(one.method)
    for (path, limits, tokens, note), methods in alike.items():
        yield " ".join(dict.fromkeys(methods)), path, limits, tokens, note


def _limits(limits: Sequence[LimitOf]) -> str:
    return "\n".join(map(_limit, limits)) or "-"


def _limit(one: LimitOf) -> str:
    named = "" if one.policy == one.limit.replace(" ", "-") or one.detail is None else f"{one.policy}: "
    more = [f"by {one.key.removeprefix('by_')}"]
    more += [f"tier {one.tier}"] if one.tier else []
    more += [one.counts] if one.counts != "all" else []
    more += ["shadow"] if one.shadow else []
    more += [{"penalty": "of refusals", "look": "of 401 and 403"}[one.role]] if one.role != "limit" else []
    more += [f"unless {one.exempt_when}"] if one.exempt_when else []
    return f"{named}{one.limit}, {', '.join(more)}"


def _tokens(tokens: Sequence[TokenOf]) -> str:
    return "\n".join(map(_token, tokens)) or "-"


def _token(one: TokenOf) -> str:
    told = [*(["refresh"] if one.refresh else []), *one.scopes, *(["one role of " + " ".join(one.roles)] if one.roles else [])]
    told += ["fresh"] if one.fresh else []
    told += [f"log-in at most {one.max_age:g} s ago"] if one.max_age is not None else []
    return f"{', '.join(told) or 'any'}{' (optional)' if one.optional else ''}"


def _note(one: Coverage) -> str:
    return {"protected": "", "exempt": f"exempt ({one.exempt})", "unprotected": "UNPROTECTED"}[one.state]


def _summary(found: Sequence[Coverage], bare: Sequence[Coverage], mode: str) -> str:
    of = {one.name for one in found}
    covered = [name for name, on in (("bans", "bans"), ("detection", "anomaly"), ("audit", "audit")) if _all(found, on)]
    told = f"{counted(len(of), 'route')}, {len(bare)} unprotected{': ' if bare else ''}{_some(bare)}."
    told += f" All of them have: {', '.join(covered)}." if covered and found else ""
    return told + (f" Mode is {mode}: no request is refused." if mode != "enforce" else "")


def _all(found: Sequence[Coverage], what: str) -> bool:
    return all(getattr(one, what) for one in found)


def _some(bare: Sequence[Coverage]) -> str:
    more = f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else ""
    return ", ".join([one.name for one in bare[:_NAMED]]) + more
