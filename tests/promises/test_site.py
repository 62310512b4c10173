"""The documentation as a site: the reference is that of the code, commands exist, a newcomer finds every page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

import lockwatch
import lockwatch.middleware
import lockwatch_flask
from lockwatch.cli import main
from tests.promises import reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_reference_can_be_written_and_has_the_headings_of_the_page() -> None:
    headings = [re.findall(r"^#+ .*$", text, re.MULTILINE) for text in (reference.reference(), reference.PAGE.read_text("utf-8"))]
    assert headings[0] == headings[1], "run: uv run python -m tests.promises.reference"


def test_the_reference_has_every_public_name() -> None:
    listed = [name for names in reference.GROUPS.values() for name in names]
    beside = {f"lockwatch_flask.{name}" for name in lockwatch_flask.__all__ if name != "__version__"}
    old = {f"lockwatch.middleware.{name}" for name in lockwatch.middleware.__all__ if name not in lockwatch.__all__}
    assert sorted(listed) == sorted({*lockwatch.__all__, *beside, *old})


def commands() -> list[tuple[str, str]]:
    """Lines of shell blocks that run our command, with the page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|console|sh)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            lines = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("lockwatch ")]
            found += [(page.name, re.split(r"  #| \| | > ", line)[0].strip()) for line in lines]
    return found


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_that_is_shown_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command | None = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, f"{page}: {line}"
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"} if command else set()
    used = {word.partition("=")[0] for word in words if word.startswith("--") and len(word) > 2}
    assert used <= known, f"{page}: {line}"


def pages_in(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else []
    return [page for part in parts for page in pages_in(part)]


def test_the_navigation_is_in_groups_a_newcomer_can_take_in() -> None:
    nav = yaml.safe_load(re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text("utf-8")))["nav"]
    assert len(nav) <= 10
    assert all(len(pages_in(group)) <= 12 for group in nav)
    listed = pages_in(nav)
    assert len(listed) == len(set(listed))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:] if "examples/" not in page.as_posix()}
    assert written <= set(listed)
