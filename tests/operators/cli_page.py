"""The reference of the command line in docs/cli.md, from the parsers: ``python -m tests.operators.cli_page`` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from lockwatch.cli import main
from lockwatch.commands.examples import EXAMPLES
from lockwatch.commands.group import Home
from lockwatch.diagnosis.catalogue import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
PARTS = ("findings", "reference")


def commands(group: click.Group = main, ctx: click.Context | None = None) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command and group below `group`, with its name and the context it is parsed in."""
    above = ctx or click.Context(group, info_name="lockwatch")
    for name in group.list_commands(above):
        found = group.get_command(above, name)
        assert found is not None
        inside = click.Context(found, info_name=name, parent=above)
        yield inside.command_path.removeprefix("lockwatch "), found, inside
        if isinstance(found, click.Group):
            yield from commands(found, inside)


def homes(group: click.Group = main) -> Iterator[tuple[str, Home, click.Command]]:
    """Every command that is imported late, with what is said of it before that."""
    above = click.Context(group, info_name="lockwatch")
    for name, home in getattr(group, "homes", {}).items():
        found = group.get_command(above, name)
        assert found is not None
        yield name, home, found
        if isinstance(found, click.Group):
            yield from homes(found)


def findings() -> str:
    """A table of every kind of finding."""
    rows = [f"| `{code}` | {kind.severity} | {kind.meaning} |" for code, kind in sorted(CATALOGUE.items())]
    return "\n".join(["| Code | Severity | Means |", "|---|---|---|", *rows])


def reference() -> str:
    """Every command: how it is called, what it does, its options, an example."""
    return "\n\n".join(_section(name, command, ctx) for name, command, ctx in commands())


def written(text: str) -> str:
    """The page with its generated parts made anew."""
    for part, made in zip(PARTS, (findings(), reference()), strict=True):
        begin, end = f"<!-- {part}: generated -->", f"<!-- end of {part} -->"
        assert text.count(begin) == text.count(end) == 1, part
        text = f"{text.partition(begin)[0]}{begin}\n\n{made}\n\n{end}{text.partition(end)[2]}"
    return text


def _section(name: str, command: click.Command, ctx: click.Context) -> str:
    usage = " ".join(["lockwatch", name, *command.collect_usage_pieces(ctx)])
    parts = [f"### lockwatch {name}", f"```text\n{usage}\n```", _prose(command.help or "")]
    rows = [row for param in command.params if (row := _row(param, ctx))]
    if rows:
        parts.append("\n".join(["| Option | Meaning |", "|---|---|", *rows]))
    if isinstance(command, click.Group):
        parts.append("Commands: " + ", ".join(f"`{below}`" for below in command.list_commands(ctx)) + ".")
    elif lines := EXAMPLES.get(name):
        parts.append("```bash\n" + "\n".join(f"lockwatch {line}" for line in lines) + "\n```")
    return "\n\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(text).split("\n\n"))


def _row(param: click.Parameter, ctx: click.Context) -> str:
    record = param.get_help_record(ctx)
    if record is None:
        return ""
    names, meaning = record
    return f"| `{re.sub(r' +', ' ', names).replace('|', chr(92) + '|')}` | {meaning.replace('|', chr(92) + '|').strip()} |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
