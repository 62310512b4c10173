"""What is shipped: the wheel, installed into an environment of its own, outside of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMITED = """
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient
from lockwatch import LockWatch, RateLimit
app = FastAPI()
LockWatch(app)
@app.get("/a", dependencies=[Depends(RateLimit("1/minute"))])
async def a() -> str: return "a"
client = TestClient(app, client=("192.0.2.1", 1))
assert [client.get("/a").status_code for _ in range(2)] == [200, 429]
from lockwatch.stores import wire
assert b"function scripts.admit" in wire.source()
"""

PROTECTED = """
from fastapi import Depends, FastAPI
from lockwatch import JWTAuth, LockWatch
from lockwatch.testing import isolated
app = FastAPI()
LockWatch(app, config=isolated(jwt_secret="a secret of at least 32 characters"))
@app.get("/me", dependencies=[Depends(JWTAuth())])
async def me() -> str: return "me"
"""


FLASK = """
import sys
from flask import Flask
from lockwatch import JWTConfig
from lockwatch_flask import LockWatch, current_claims
from lockwatch.middleware import LockWatchFlaskMiddleware, flask_jwt_required
app = Flask(__name__)
lockwatch = LockWatch(app, jwt=JWTConfig(jwt_secret="a secret of at least 32 characters"), bans=True, application_limits="9/minute")
app.register_blueprint(lockwatch.auth_blueprint())
@app.get("/a")
@lockwatch.limit("1/minute")
@lockwatch.jwt_required(optional=True)
def a(): return str(bool(current_claims))
app.wsgi_app = LockWatchFlaskMiddleware(app.wsgi_app)
client = app.test_client()
assert [client.get("/a").status_code for _ in range(2)] == [200, 429]
assert client.get("/.well-known/jwks.json").status_code == 200
lockwatch.flush()
lockwatch.close()
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"fastapi", "starlette", "pydantic", "uvicorn"}, loaded
"""


def run(*command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    target = tmp_path_factory.mktemp("dist")
    run(uv(), "build", "--quiet", "--out-dir", target, ROOT, cwd=target)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the wheel and FastAPI."""
    home = tmp_path_factory.mktemp("fresh")
    run(uv(), "venv", "--quiet", "--python", sys.executable, home / "venv", cwd=home)
    found = home / "venv" / "bin" / "python"
    run(uv(), "pip", "install", "--quiet", "--python", found, f"{wheel}[demo]", "httpx2", cwd=home)
    yield found
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def with_flask(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the wheel and Flask, and nothing of FastAPI."""
    home = tmp_path_factory.mktemp("flask")
    run(uv(), "venv", "--quiet", "--python", sys.executable, home / "venv", cwd=home)
    found = home / "venv" / "bin" / "python"
    run(uv(), "pip", "install", "--quiet", "--python", found, f"{wheel}[flask]", cwd=home)
    yield found
    shutil.rmtree(home, ignore_errors=True)


def uv() -> str:
    found = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    assert Path(found).exists(), "uv is not on PATH; pip install uv"
    return found


def test_the_wheel_carries_both_packages_their_scripts_and_their_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    lua = {str(p.relative_to(ROOT)) for p in (ROOT / "lockwatch").rglob("*.lua")}
    assert lua | {"lockwatch/py.typed", "lockwatch_flask/py.typed", "lockwatch/fastapi/extension.py"} <= names
    assert {n.partition("/")[0] for n in names if "dist-info" not in n} == {"lockwatch", "lockwatch_flask"}


def test_an_installed_wheel_limits_a_route(python: Path) -> None:
    run(python, "-W", "error", "-c", LIMITED, cwd=python.parent)


def test_an_installed_wheel_protects_flask_without_fastapi(with_flask: Path) -> None:
    run(with_flask, "-W", "error", "-c", FLASK, cwd=with_flask.parent)
    assert run(with_flask, "-c", "import fastapi", cwd=with_flask.parent, check=False).returncode != 0
    helped = run(with_flask.parent / "flask", "lockwatch", "--help", cwd=with_flask.parent).stdout
    assert "limits" in helped


def test_an_installed_wheel_has_a_command(python: Path) -> None:
    assert "0.2.0" in run(python.parent / "lockwatch", "--version", cwd=python.parent).stdout
    assert "explain" in run(python.parent / "lockwatch", "limits", "--help", cwd=python.parent).stdout


@pytest.mark.timing
def test_importing_the_installed_wheel_takes_under_100_ms(python: Path) -> None:
    timed = "import time; t = time.perf_counter(); import lockwatch; print(time.perf_counter() - t)"
    assert any(float(run(python, "-c", timed, cwd=python.parent).stdout) < 0.1 for _ in range(30))


def test_an_installed_wheel_is_a_plugin_of_pytest(python: Path, tmp_path: Path) -> None:
    run(uv(), "pip", "install", "--quiet", "--python", python, "pytest", cwd=tmp_path)
    (tmp_path / "shop.py").write_text(PROTECTED)
    done = run(python, "-W", "error", "-m", "pytest", "--lockwatch-app", "shop:app", "-v", cwd=tmp_path)
    assert "lockwatch-0.2.0" in done.stdout
    assert "shop:app GET /me refuses hostile tokens PASSED" in done.stdout


def test_types_are_seen_by_a_user(python: Path, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "from lockwatch import Decision, Limit, RateLimit, by_user\n"
        "limit: RateLimit = RateLimit(Limit(5, 60), key=by_user)\n"
        "def left(decision: Decision) -> int:\n    return decision.remaining\n"
        "wrong: int = limit  # error\n"
    )
    done = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "use.py", cwd=tmp_path, check=False)
    assert done.stdout.count("error:") == 1, done.stdout
    assert 'variable has type "int"' in done.stdout
