"""The direction of imports: what decides never imports what waits."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DRIVERS = {
    "asyncio",
    "threading",
    "redis",
    "sqlalchemy",
    "sqlmodel",
    "httpx",
    "fastapi",
    "starlette",
    "flask",
    "random",
    "time",
}
PURE = [
    "errors",
    "config.py",
    "options.py",
    "environment.py",
    "flow.py",
    "event.py",
    "audit/address.py",
    "audit/cursor.py",
    "audit/drivers.py",
    "audit/entry.py",
    "audit/formats.py",
    "audit/parking.py",
    "audit/query.py",
    "audit/roles.py",
    "audit/row.py",
    "audit/block.py",
    "audit/chain.py",
    "audit/clean.py",
    "audit/encoding.py",
    "audit/floods.py",
    "audit/gaps.py",
    "audit/ids.py",
    "audit/pack.py",
    "audit/redact.py",
    "audit/writer.py",
    "audit/merkle.py",
    "audit/note.py",
    "audit/checkpoint.py",
    "audit/findings.py",
    "audit/verify.py",
    "capture.py",
    "client.py",
    "keys.py",
    "subjects.py",
    "passerby.py",
    "headers.py",
    "limits",
    "tokens",
    "anomaly",
    "alerts",
]
WAITING = {
    *(f"anomaly/{name}.py" for name in ("bans", "bursts", "direct", "logins", "watcher")),
    *(f"tokens/{name}.py" for name in ("keyfile", "fetch", "roots", "manager", "signing")),
    *(
        f"alerts/{name}.py"
        for name in ("receiver", "resolver", "delivery", "outbox", "keeping", "lane", "dispatch", "setup", "shelf")
    ),
}
"""Modules of a pure folder that read files or the network, or drive flows."""
STDLIB_ONLY = ["errors", "config.py", "options.py", "environment.py", "flow.py", "event.py"]


def imports(path: Path) -> set[str]:
    """Every module a file imports when it runs, wherever in it; names for type checkers aside."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    checked = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test) for n in ast.walk(i)}
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def files(*names: str) -> list[Path]:
    found = [
        path
        for name in names
        for path in ([ROOT / "lockwatch" / name] if name.endswith(".py") else (ROOT / "lockwatch" / name).rglob("*.py"))
    ]
    assert found
    return found


def place(path: Path) -> str:
    return path.relative_to(ROOT / "lockwatch").as_posix()


@pytest.mark.parametrize("path", [p for p in files(*PURE) if place(p) not in WAITING], ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_modules_import_no_driver_and_no_clock(path: Path) -> None:
    used = imports(path)
    assert not {name.partition(".")[0] for name in used} & (DRIVERS | {"secrets", "uuid", "tempfile"})
    assert not used & {f"lockwatch.{name.removesuffix('.py').replace('/', '.')}" for name in WAITING}


def test_only_the_engines_import_a_jose_library() -> None:
    using = {
        p.name: {name for name in imports(p) if name.partition(".")[0] in ("jose", "jwt", "joserfc")}
        for p in [*(ROOT / "lockwatch").rglob("*.py"), *(ROOT / "lockwatch_flask").rglob("*.py")]
    }
    found = {name: modules for name, modules in using.items() if modules}
    assert found == {"engine_jose.py": {"jose", "jose.backends"}, "engine_pyjwt.py": {"jwt.algorithms"}}


@pytest.mark.parametrize("path", files(*STDLIB_ONLY), ids=lambda p: p.name)
def test_foundations_import_only_the_standard_library_and_each_other(path: Path) -> None:
    own = {name for name in imports(path) if name.startswith("lockwatch")}
    assert {name.split(".")[1] for name in own} <= {"errors", "flow", "options", "environment"}


def test_only_the_stores_import_redis() -> None:
    using = {p for p in (ROOT / "lockwatch").rglob("*.py") if "redis" in {name.partition(".")[0] for name in imports(p)}}
    assert {p.parent.name for p in using} == {"stores"}


def test_only_the_fastapi_edge_imports_fastapi() -> None:
    using = {
        p
        for p in [*(ROOT / "lockwatch").rglob("*.py"), *(ROOT / "lockwatch_flask").rglob("*.py")]
        if {"fastapi", "starlette"} & {name.partition(".")[0] for name in imports(p)}
    }
    assert {p.parent.name for p in using if p.name != "demo.py"} == {"fastapi"}


def test_lockwatch_does_not_import_its_flask_edge() -> None:
    assert not [
        p
        for p in (ROOT / "lockwatch").rglob("*.py")
        if p.name != "middleware.py" and any(n.startswith("lockwatch_flask") for n in imports(p))
    ]


def test_there_are_no_import_cycles() -> None:
    graph = {
        module_name(p): {n for n in imports(p) if n.startswith("lockwatch")}
        for p in (ROOT / "lockwatch").rglob("*.py")
        if p.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join((*path, name))}"
        if name in done:
            return
        for target in graph.get(name, ()):
            visit(target, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
