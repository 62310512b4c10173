"""The documentation is true: its examples run, its tables agree with the code, its links lead somewhere.

Every ```python block of README.md and docs/ is executed. HTML comments, which readers do not see, steer that:

    <!-- continues -->      before a block: it runs in the namespace of the block before it; else a fresh one begins
    <!-- fragment -->       before a block: it is compiled only
    <!-- store: down -->    before a block: its Redis does not answer; else it is the real one of the tests
    <!-- theirs: name -->   before a block of another library: tests/migrating runs it beside the one marked <!-- ours: name -->
    <!-- test: ... -->      after a block: assertions, run in its namespace, with `client(app)` for requests
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from lockwatch import (
    AnomalyConfig,
    ConfigurationError,
    Decision,
    LockWatch,
    LockWatchConfig,
    RateLimit,
    RateLimitConfig,
    RateLimitState,
    metrics,
)
from lockwatch.health import Health
from lockwatch.limits import parse
from lockwatch.testing import assert_limited, token_for, withstand
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.issuers import Issuer
from lockwatch.tokens.requirement import Requirement
from tests import servers

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRINTED_URL = "redis://localhost:6379/0"
_BLOCK = re.compile(
    r"""^<!--[ ]test:\n(?P<test>.*?)^-->$
      | (?P<marks>(?:^<!--[ ][^\n]*[ ]-->\n+)*)^```(?P<language>[a-z]+)[^\n]*\n(?P<code>.*?)^```$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass
class Block:
    """A fenced block and the hidden assertions after it."""

    page: Path
    line: int
    language: str
    code: str
    marks: str
    tests: list[tuple[int, str]] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    block: Block | None = None
    for match in _BLOCK.finditer(text):
        if match["test"] is not None:
            assert block is not None, f"{page.name}: a test comes before any block"
            block.tests.append((text.count("\n", 0, match.start("test")) + 1, match["test"]))
            continue
        if block is not None:
            yield block
        line = text.count("\n", 0, match.start("code")) + 1
        block = Block(page, line, match["language"], match["code"], match["marks"])
    if block is not None:
        yield block


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def examples() -> Iterator[list[Block]]:
    """Python blocks that run together, in order."""
    example: list[Block] = []
    for block in (b for b in BLOCKS if b.language == "python" and not re.search("<!-- (fragment|theirs:)", b.marks)):
        if "<!-- continues -->" in block.marks:
            assert example, f"{block.place}: nothing to continue"
            assert example[-1].page == block.page, f"{block.place}: nothing to continue on this page"
            example.append(block)
            continue
        if example:
            yield example
        example = [block]
    if example:
        yield example


def execute(page: Path, line: int, code: str, namespace: dict[str, Any]) -> None:
    """Run code so that a traceback names the line of the page. No future imports of ours leak into it."""
    exec(compile("\n" * (line - 1) + dedent(code), str(page), "exec", dont_inherit=True), namespace)


def client(app: Any, peer: str = "192.0.2.1") -> TestClient:
    """A client with an address, for every Starlette we support. `with` runs the lifespan."""

    async def addressed(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"client": (peer, 50_000)} if scope["type"] != "lifespan" else scope, receive, send)

    return TestClient(addressed)


def refusal() -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of a real 429."""
    page = ROOT / "README.md"
    block = next(b for b in blocks_of(page) if b.language == "python")
    namespace: dict[str, Any] = {"__name__": "refusal"}
    execute(page, block.line, block.code, namespace)
    with client(namespace["app"]) as http:
        for _ in range(3):
            assert http.get("/search").status_code == 200
        answer = http.get("/search")
    return dict(answer.headers), answer.json()


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, cells without white space around."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    rows = [line for line in found.group(1).splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def code_in(cell: str) -> str:
    """What stands in backticks at the start of a cell."""
    found = re.match(r"`+ ?(.+?) ?`+(?!`)", cell)
    assert found, f"{cell!r} has no code"
    return found.group(1)


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in _HEADING.findall(text)}


# ------------------------------------------------------------ examples
@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example[0].place)
def test_example_runs(
    example: list[Block], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # files of examples, and their spools, are nobody's
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("REDIS_URL", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCKWATCH_STORE_TIMEOUT", "2")  # no example is about a deadline, and a machine may be busy
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in example:
        code = block.code
        if "redis://" in code:
            assert PRINTED_URL in code, f"{block.place}: write the URL as {PRINTED_URL}"
            down = "<!-- store: down -->" in block.marks
            url = f"redis://127.0.0.1:{servers.free_port()}/0" if down else request.getfixturevalue("redis_server")
            # Nor is one of a limiter by hand, which no environment configures.
            code = code.replace(PRINTED_URL, url).replace("key_prefix=", "store_timeout=5, key_prefix=")
        execute(block.page, block.line, code, namespace)
        for line, test in block.tests:
            execute(block.page, line, test, namespace | {"client": client, "pytest": pytest})


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda b: b.place)
def test_example_compiles(block: Block) -> None:
    compile(block.code, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def test_marks_are_known() -> None:
    known = {"<!-- continues -->", "<!-- fragment -->", "<!-- store: down -->"}
    pairs = re.compile(r"<!-- (theirs|ours): .+ -->")
    assert {mark for block in BLOCKS for mark in block.marks.split("\n") if mark and not pairs.fullmatch(mark)} <= known


def test_no_hidden_assertion_is_overlooked() -> None:
    written = sum(page.read_text("utf-8").count("<!-- test:\n") for page in PAGES if page.name != "contributing.md")
    assert sum(len(block.tests) for block in BLOCKS) == written > 20


# ------------------------------------------------------------ what is printed
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "http"], ids=lambda b: b.place)
def test_printed_refusal_looks_like_a_real_one(block: Block) -> None:
    headers, body = refusal()
    head, _, printed = block.code.partition("\n\n")
    status, *lines = head.splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    real = {name: value for name, value in headers.items() if name != "content-length"}
    assert status == "HTTP/1.1 429 Too Many Requests"
    assert list(shown) == list(real)
    for name in ("content-type", "cache-control", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining"):
        assert shown[name] == real[name]
    decoded = json.loads(printed)
    assert list(decoded) == list(body)
    changing = {"detail", "retry_after", "decision"}
    assert {k: v for k, v in decoded.items() if k not in changing} == {k: v for k, v in body.items() if k not in changing}


def test_the_readme_prints_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "pip install uv && uv run --all-extras lockwatch demo\n" in text
    assert "pip install uv && uv run pytest\n" in text


def test_the_readme_lists_every_page() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text("utf-8")))
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= linked


def test_the_readme_lists_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "README.md").read_text("utf-8")
    install = text.split("## Install")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `lockwatch\[(\w+)\]` \|", install, re.MULTILINE))
    planned = set(re.findall(r"`(\w+)`", install.split("The extras")[1])) if "The extras" in install else set()
    assert listed | planned == set(project["optional-dependencies"])


# ------------------------------------------------------------ tables
def test_every_option_of_a_limit_is_documented_and_exists() -> None:
    documented = {code_in(row[0]): code_in(row[1]) for row in table("rate-limiting.md", "Options of a limit")}
    parameters = list(inspect.signature(RateLimit).parameters.values())
    assert list(documented) == [p.name for p in parameters]
    for p in parameters[1:]:
        default = p.default.__name__ if callable(p.default) else json.dumps(p.default) if isinstance(p.default, str) else p.default
        assert documented[p.name] == str(default)


def test_keyword_arguments_in_prose_exist() -> None:
    declared = (RateLimit, LockWatchConfig, AnomalyConfig, JWTConfig, Issuer, Requirement, token_for, assert_limited, withstand)
    known = {name for each in declared for name in inspect.signature(each).parameters}
    beyond = {"client", "dependencies", "json", "headers", "buffered"}  # of test clients and FastAPI
    for page in (page for page in PAGES if page.name != "api.md"):  # that one speaks of whatever there is
        prose = re.sub(r"^```.*?^```$|^\|.*?$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for name in re.findall(r"`([a-z_]+)=[^`]*`", prose):
            assert name in known | beyond, f"{page.name} speaks of the option {name!r}"


@pytest.mark.parametrize("row", table("rate-limiting.md", "Grammar"), ids=lambda row: row[0])
def test_the_grammar_table_is_right(row: list[str]) -> None:
    found = [(limit.name, limit.amount, limit.window) for limit in parse(code_in(row[0]))]
    assert found == ast.literal_eval(code_in(row[1]))


@pytest.mark.parametrize("row", table("rate-limiting.md", "What the grammar refuses"), ids=lambda row: row[0])
def test_the_grammar_refuses_what_the_table_says(row: list[str]) -> None:
    text = "" if row[0] == "an empty text" else code_in(row[0])
    with pytest.raises(ConfigurationError):
        RateLimit(text)


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("rate-limiting.md", "The decision", Decision._fields),
        ("outages.md", "The health report", [f.name for f in fields(Health)]),
        ("standalone.md", "The state", [f.name for f in fields(RateLimitState)]),
    ],
)
def test_a_table_of_attributes_is_complete(page: str, heading: str, names: list[str]) -> None:
    assert [code_in(row[0]) for row in table(page, heading)] == list(names)


def test_the_settings_of_a_limiter_are_documented_with_their_defaults() -> None:
    documented = {code_in(row[0]): code_in(row[1]) for row in table("standalone.md", "Settings")}
    actual = {f.name: f.default for f in fields(RateLimitConfig)}
    assert {name: value if name == "key_func" else ast.literal_eval(value) for name, value in documented.items()} == actual | {
        "key_func": "by_ip"
    }


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    metrics.register(LockWatch(), registry=registry)
    documented = {code_in(row[0]): row[3] for row in table("operators.md", "Metrics")}
    families = {f"{f.name}_total" if f.type == "counter" else f.name: f.documentation for f in registry.collect()}
    assert documented == families


# ------------------------------------------------------------ links
def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from ((page, target) for target in _LINK.findall(prose) if "://" not in target)


@pytest.mark.parametrize(("page", "target"), list(links()), ids=lambda value: value.name if isinstance(value, Path) else value)
def test_internal_link_resolves(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists()
    assert not anchor or anchor in anchors(found)


def test_every_page_is_in_the_navigation() -> None:
    written = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]} <= written


def test_the_changelog_knows_the_version() -> None:
    from lockwatch import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_addresses_are_reserved_ones() -> None:
    for page in PAGES:
        for text in re.findall(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])", page.read_text("utf-8")):
            assert ip_address(text).is_private, f"{page.name}: {text}"
