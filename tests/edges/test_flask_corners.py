"""Ways through the Flask edge that few applications take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from werkzeug.test import Client
from werkzeug.wsgi import FileWrapper

from lockwatch import ConfigurationError, JWTConfig, RefreshCookie, by_form, by_json
from lockwatch.middleware import LockWatchFlaskMiddleware
from lockwatch_flask import LockWatch

JWT = JWTConfig(jwt_secret="a secret of at least 32 characters")


@pytest.fixture
def app() -> Flask:
    return Flask("shop")


def guarded(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def asked(*args: Any, **kwargs: Any) -> Any:
        if request.headers.get("x-key") != "of a resource server":
            abort(403)
        return view(*args, **kwargs)

    return asked


def test_introspection_is_there_only_behind_a_guard(app: Flask) -> None:
    lockwatch = LockWatch(app, jwt=JWT)
    app.register_blueprint(lockwatch.auth_blueprint(introspection=guarded, name="asked"))
    app.register_blueprint(lockwatch.auth_blueprint(prefix="/plain", name="plain"))
    http, pair = app.test_client(), lockwatch.tokens.issue_token_pair("ann", {"scope": "read"})
    form, key = {"token": pair.access_token}, {"x-key": "of a resource server"}
    assert http.post("/plain/introspect", data=form).status_code == 404
    assert http.post("/auth/introspect", data=form).status_code == 403
    told = http.post("/auth/introspect", data=form, headers=key).json
    assert told is not None
    assert (told["active"], told["sub"], told["scope"]) == (True, "ann", "read")
    lockwatch.tokens.revoke_subject("ann")
    assert http.post("/auth/introspect", data=form, headers=key).json == {"active": False}


def test_a_cookie_that_browsers_would_not_send_back_is_told(app: Flask) -> None:
    lockwatch = LockWatch(app, jwt=JWT)
    with pytest.raises(ConfigurationError, match="/auth"):
        lockwatch.auth_blueprint(cookie=RefreshCookie(path="/elsewhere"))


@pytest.mark.parametrize("key", [by_form("name"), by_json("name")], ids=["form", "json"])
def test_a_body_that_the_application_has_read_is_read_again(app: Flask, key: Any) -> None:
    @app.before_request
    def read() -> None:
        assert (request.form if request.mimetype.endswith("urlencoded") else request.get_json())["name"] in ("ann", "bob")

    lockwatch = LockWatch(app, secret_key="0123456789abcdef")

    @app.post("/login")
    @lockwatch.limit("1/minute", key=key)
    def login() -> str:
        return "fine"

    http, kind = app.test_client(), "data" if key.kind == "form" else "json"
    asked = [http.post("/login", **{kind: {"name": name}}).status_code for name in ("ann", "ann", "bob")]
    assert asked == [200, 429, 200]


@pytest.fixture
def audited(app: Flask, tmp_path: Path) -> Iterator[LockWatch]:
    lockwatch = LockWatch(app, audit_database_url=f"sqlite+aiosqlite:///{tmp_path / 'audit.db'}", spool_dir=str(tmp_path / "spool"))
    lockwatch.audit.init_sync()
    yield lockwatch
    lockwatch.close()


@pytest.mark.parametrize("wrapper", [FileWrapper, lambda file, size=8192: FileWrapper(file, size)], ids=["class", "function"])
def test_a_file_that_the_server_sends_is_recorded(app: Flask, audited: LockWatch, wrapper: Any) -> None:
    @app.get("/file")
    def file() -> Response:
        return Response(request.environ["wsgi.file_wrapper"](BytesIO(b"x" * 20)), direct_passthrough=True)

    answer = app.test_client().get("/file", environ_overrides={"wsgi.file_wrapper": wrapper})
    assert answer.data == b"x" * 20
    audited.audit.flush_sync()
    (row,) = audited.audit.query_sync(kind="http")
    assert (row.status_code, row.outcome) == (200, "success")
    assert row.bytes_sent == (None if wrapper is FileWrapper else 20)


def test_a_limit_met_in_a_function_sees_the_body(app: Flask) -> None:
    lockwatch = LockWatch(app, secret_key="0123456789abcdef")

    @lockwatch.limit("1/minute", key=by_json("name"))
    def look(name: str) -> str:
        return f"looked for {name}"

    @app.post("/search")
    def search() -> str:
        return look("ann")

    http = app.test_client()
    asked = [http.post("/search", json={"name": name}).status_code for name in ("ann", "ann", "bob")]
    assert asked == [200, 429, 200]


def test_a_token_asked_for_in_a_function_says_what_to_set(app: Flask) -> None:
    lockwatch = LockWatch(app)
    app.testing = True

    @lockwatch.jwt_required()
    def pay() -> str:
        return "paid"

    @app.get("/pay")
    def view() -> str:
        return pay()

    with pytest.raises(ConfigurationError, match="jwt"):
        app.test_client().get("/pay")


@pytest.mark.parametrize("mode", ["enforce", "off"])
def test_middleware_in_middleware_leaves_each_its_own(mode: str) -> None:
    def shop(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"found"]

    inner = LockWatchFlaskMiddleware(shop, default_limits="2/minute", secret_key="0123456789abcdef", mode=mode)
    outer = LockWatchFlaskMiddleware(inner, default_limits="3/minute", secret_key="0123456789abcdef", mode=mode)
    asked = [Client(outer).get("/").status_code for _ in range(4)]
    assert asked == ([200, 200, 429, 429] if mode == "enforce" else [200] * 4)
    outer.close()
    inner.close()
