"""What is Flask's own: blueprints, classes of views, decorators, hooks, streams, error handlers, several applications."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, current_app, g, make_response, request, stream_with_context
from flask.views import MethodView, View
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from lockwatch import ConfigurationError, JWTConfig, LockWatchConfig, RateLimited, StoreError, TokenError, by_json, by_user
from lockwatch_flask import LockWatch, current_claims
from tests import servers
from tests.watch import watching

BACKGROUND = {"workers", "epoch", "watch", "exchange", "bans"}
"""What the thread in the background says, now and then."""
JWT = JWTConfig(jwt_secret="a secret of at least 32 characters")


@pytest.fixture
def app() -> Flask:
    return Flask("shop")


@pytest.fixture
def lockwatch(app: Flask) -> Iterator[LockWatch]:
    made = LockWatch(app, jwt=JWT)
    yield made
    made.close()


@pytest.fixture(params=["memory", "redis"])
def options(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    return {} if request.param == "memory" else {"redis_url": redis_server, "store_timeout": 5.0}


def statuses(app: Flask, path: str, times: int = 1, method: str = "GET", **extra: Any) -> list[int]:
    return [app.test_client().open(path, method=method, buffered=True, **extra).status_code for _ in range(times)]


def remaining(response: Any) -> list[int]:
    """What is left of each policy, in the order of the header."""
    return [int(part.split("r=")[1].split(";")[0]) for part in response.headers["RateLimit"].split(", ")]


# ------------------------------------------------------------ where limits stand
@pytest.mark.parametrize("order", ["above", "below"])
def test_a_decorator_stands_above_or_below_the_route(app: Flask, lockwatch: LockWatch, order: str) -> None:
    def view() -> str:
        return "fine"

    limit, route = lockwatch.limit("1/minute"), app.get("/a")
    limit(route(view)) if order == "above" else route(limit(view))
    assert statuses(app, "/a", 2) == [200, 429]


def test_limits_of_one_view_are_charged_together_or_not_at_all(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/a")
    @lockwatch.limit("9/minute")
    @lockwatch.limit("2/hour")
    def view() -> str:
        return "fine"

    assert statuses(app, "/a", 5) == [200, 200, 429, 429, 429]
    assert remaining(app.test_client().get("/a")) == [7, 0]


def test_an_async_view_is_limited_and_runs(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/a")
    @lockwatch.jwt_required(optional=True)
    @lockwatch.limit("1/minute")
    async def view() -> str:
        await asyncio.sleep(0)
        return str(bool(current_claims))

    assert app.test_client().get("/a").text == "False"
    assert statuses(app, "/a") == [429]


def test_a_class_of_views_its_decorators_and_its_methods(app: Flask, lockwatch: LockWatch) -> None:
    @lockwatch.limit("9/minute", name="class")
    class Items(MethodView):
        decorators = (lockwatch.limit("5/minute", name="decorators"),)  # type: ignore[assignment]

        @lockwatch.limit("1/minute", name="get")
        def get(self) -> str:
            return "get"

        def post(self) -> str:
            return "post"

        @lockwatch.exempt
        def put(self) -> str:
            return "put"

    app.add_url_rule("/items", view_func=Items.as_view("items"))
    first = app.test_client().get("/items")
    assert remaining(first) == [8, 4, 0]
    assert '"class"' in first.headers["RateLimit"]
    assert statuses(app, "/items") == [429]
    assert statuses(app, "/items", method="HEAD") == [429]
    assert statuses(app, "/items", 6, "POST") == [200] * 5 + [429]
    assert statuses(app, "/items", 20, "PUT") == [200] * 20


def test_a_view_class_with_one_method(app: Flask, lockwatch: LockWatch) -> None:
    class Show(View):
        @lockwatch.limit("1/minute")
        def dispatch_request(self) -> str:
            return "fine"

    app.add_url_rule("/show", view_func=Show.as_view("show"))
    assert statuses(app, "/show", 2) == [200, 429]


def test_methods_an_option_names(app: Flask, lockwatch: LockWatch) -> None:
    @app.route("/a", methods=["GET", "POST"])
    @lockwatch.limit("1/minute", methods=["post"])
    def view() -> str:
        return "fine"

    assert statuses(app, "/a", 3) == [200, 200, 200]
    assert statuses(app, "/a", 2, "POST") == [200, 429]


def test_the_innermost_exemption_or_limit_of_nested_blueprints_counts() -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, application_limits="3/minute")
    outer, inner, leaf = [Blueprint(name, "shop", url_prefix=f"/{name}") for name in ("outer", "inner", "leaf")]
    lockwatch.exempt(inner)
    lockwatch.limit("1/minute")(leaf)
    for blueprint in (outer, inner, leaf):
        blueprint.add_url_rule("/", "view", lambda: "fine")
    inner.add_url_rule("/own", "own", lockwatch.limit("2/minute")(lambda: "fine"))
    inner.register_blueprint(leaf)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    assert statuses(app, "/outer/inner/", 5) == [200] * 5
    assert statuses(app, "/outer/inner/own", 3) == [200, 200, 429]
    assert statuses(app, "/outer/inner/leaf/", 2) == [200, 429]
    assert statuses(app, "/outer/", 4) == [200, 200, 200, 429]
    lockwatch.close()


def test_one_blueprint_registered_twice_has_two_buckets(app: Flask, lockwatch: LockWatch) -> None:
    blueprint = Blueprint("part", "shop")
    blueprint.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    app.register_blueprint(blueprint, url_prefix="/one")
    app.register_blueprint(blueprint, url_prefix="/two", name="again")
    assert [*statuses(app, "/one/a", 2), *statuses(app, "/two/a", 2)] == [200, 429, 200, 429]


def test_a_limit_on_a_function_that_is_no_view_counts_once_in_a_request(app: Flask, lockwatch: LockWatch) -> None:
    @lockwatch.limit("2/minute")
    def expensive() -> str:
        return "done"

    @app.get("/a")
    @lockwatch.limit("9/minute")
    def view() -> str:
        return expensive() + expensive()

    assert statuses(app, "/a", 3) == [200, 200, 429]
    assert expensive() == "done"  # nobody sent a request


def test_a_decorator_whose_marks_are_lost_limits_all_the_same(app: Flask, lockwatch: LockWatch) -> None:
    limited = lockwatch.limit("1/minute")(lambda: "fine")
    app.add_url_rule("/a", "a", lambda: f"very {limited()}")
    assert statuses(app, "/a", 2) == [200, 429]


def test_options_that_flask_answers_itself_need_no_token_and_fill_no_bucket_of_the_view(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/a")
    @lockwatch.limit("1/minute")
    @lockwatch.jwt_required()
    def view() -> str:
        return "fine"

    assert statuses(app, "/a", 3, "OPTIONS") == [200, 200, 200]


def test_routes_under_two_hosts_have_buckets_of_their_own() -> None:
    app = Flask("shop", host_matching=True, static_host="static.example")
    lockwatch = LockWatch(app)
    view = lockwatch.limit("1/minute")(lambda: "fine")
    app.add_url_rule("/a", "one", view, host="one.example")
    app.add_url_rule("/a", "two", view, host="two.example")
    for host in ("one.example", "two.example"):
        assert statuses(app, "/a", 2, base_url=f"http://{host}") == [200, 429]
    lockwatch.close()


# ------------------------------------------------------------ before and after
def test_a_refused_request_reads_no_body_and_runs_nothing_of_the_application(app: Flask, lockwatch: LockWatch) -> None:
    ran: list[str] = []

    class Untouched(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            ran.append("body")
            return b""

    app.before_request(lambda: ran.append("before"))

    @app.post("/a")
    @lockwatch.limit("1/minute")
    def view() -> str:
        ran.append("view")
        return "fine"

    assert statuses(app, "/a", method="POST") == [200]
    ran.clear()
    assert statuses(app, "/a", method="POST", input_stream=Untouched(), content_length=10) == [429]
    assert ran == []


def test_a_user_that_a_function_of_the_application_notes_is_counted(app: Flask, lockwatch: LockWatch) -> None:
    blueprint = Blueprint("part", "shop")

    @blueprint.before_request
    def who() -> None:
        g.user_id = request.headers["X-User"]

    blueprint.add_url_rule("/a", "a", lockwatch.limit("1/minute", key=by_user)(lambda: "fine"))
    app.register_blueprint(blueprint)
    seen = [statuses(app, "/a", headers={"X-User": user})[0] for user in ("ann", "bob", "ann")]
    assert seen == [200, 200, 429]


def test_an_answer_before_the_view_counts_for_the_application_alone() -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, application_limits="2/minute")
    app.before_request(lambda: ("closed", 503))
    app.add_url_rule("/a", "a", lockwatch.limit("1/minute", key=by_user)(lambda: "fine"))
    assert statuses(app, "/a", 3) == [503, 503, 429]
    lockwatch.close()


def test_an_application_mounted_beside_flask_counts_for_the_application() -> None:
    app = Flask("shop")

    def other(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"other"

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/other": other})  # type: ignore[method-assign]
    lockwatch = LockWatch(app, application_limits="2/minute")
    client = app.test_client()
    assert [client.get("/other").text for _ in range(2)] == ["other", "other"]
    refused = client.get("/other")
    assert (refused.status_code, refused.json["error"]) == (429, "rate_limit_exceeded")
    assert client.head("/other").data == b""
    lockwatch.close()


def test_an_application_within_another_each_with_a_lockwatch_speaks_first() -> None:
    inner, outer = Flask("inner"), Flask("outer")
    within, around = LockWatch(inner, application_limits="5/minute"), LockWatch(outer, application_limits="9/minute")
    inner.add_url_rule("/a", "a", lambda: "fine")
    outer.wsgi_app = around_app = DispatcherMiddleware(inner.wsgi_app, {})  # type: ignore[method-assign]
    assert around_app is outer.wsgi_app
    response = outer.test_client().get("/a")
    assert response.headers.getlist("RateLimit") == ['"5-per-minute";r=4;t=60']
    within.close()
    around.close()


def test_by_json_leaves_the_whole_body_to_the_view(app: Flask, lockwatch: LockWatch) -> None:
    @app.post("/a")
    @lockwatch.limit("9/minute", key=by_json("email", max_bytes=20))
    def view() -> Any:
        return str(len(request.get_data()))

    for size in (10, 20, 21, 5000):
        assert app.test_client().post("/a", data=b"x" * size).text == str(size)


def test_by_json_reads_what_a_function_of_the_application_has_read(app: Flask, lockwatch: LockWatch) -> None:
    app.before_request(lambda: request.get_json(silent=True) and None)

    @app.post("/a")
    @lockwatch.limit("1/minute", key=by_json("email"))
    def view() -> Any:
        return request.json

    assert [app.test_client().post("/a", json={"email": email}).status_code for email in ("a", "b", "a")] == [200, 200, 429]


# ------------------------------------------------------------ streams and their end
def test_a_stream_holds_its_place_until_it_is_closed(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **options)

    @app.get("/a")
    @lockwatch.limit("1 concurrent")
    def view() -> Response:
        return Response(stream_with_context(iter([b"one", b"two"])))

    client = app.test_client()
    streaming = client.get("/a", buffered=False)
    assert client.get("/a").status_code == 429
    streaming.close()
    assert client.get("/a").status_code == 200
    lockwatch.close()


def test_what_a_stream_really_cost_is_settled_when_it_ends(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **options)

    @app.get("/a")
    @lockwatch.limit("10/hour", cost=8)
    def view() -> Response:
        def parts() -> Iterator[bytes]:
            yield b"one"
            g.lockwatch.settle(2)

        return Response(stream_with_context(parts()))

    client = app.test_client()
    assert client.get("/a").data == b"one"
    assert remaining(client.get("/a")) == [0]
    lockwatch.close()


def test_settling_needs_a_cost_and_a_whole_number(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/a")
    @lockwatch.limit("9/minute")
    def view() -> str:
        with pytest.raises(LookupError, match="declare one with cost="):
            g.lockwatch.settle(1)
        with pytest.raises(ValueError, match="whole number"):
            g.lockwatch.settle(-1)
        return "fine"

    assert statuses(app, "/a") == [200]


def test_a_view_that_raises_is_a_failure_and_its_500_has_the_headers(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **options)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/a")
    @lockwatch.limit("2/minute", count="failures")
    def view() -> str:
        raise RuntimeError("boom")

    client = app.test_client()
    assert [(r.status_code, remaining(r)) for r in (client.get("/a"), client.get("/a"))] == [(500, [1]), (500, [0])]
    assert client.get("/a").status_code == 429
    lockwatch.close()


# ------------------------------------------------------------ answers of the application's own
def test_a_handler_of_the_error_answers(app: Flask, lockwatch: LockWatch) -> None:
    @app.errorhandler(RateLimited)
    def slow_down(error: RateLimited) -> Any:
        return {"wait": error.retry_after is not None, "policies": [d.policy for d in error.violated]}, 418

    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    client = app.test_client()
    client.get("/a")
    answer = client.get("/a")
    assert (answer.status_code, answer.json) == (418, {"wait": True, "policies": ["1-per-minute"]})
    assert remaining(answer) == [0]


@pytest.mark.parametrize("registered", [429, HTTPException])
def test_a_handler_of_the_status_answers(app: Flask, lockwatch: LockWatch, registered: Any) -> None:
    @app.errorhandler(registered)
    def page(error: HTTPException) -> Any:
        response = make_response(error.get_response())
        response.data = f"slow down: {error.lockwatch.violated[0].policy}"  # type: ignore[attr-defined]
        return response

    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    client = app.test_client()
    client.get("/a")
    answer = client.get("/a")
    assert (answer.status_code, answer.text) == (429, "slow down: 1-per-minute")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_handler_of_a_blueprint_answers_for_its_routes(app: Flask, lockwatch: LockWatch) -> None:
    blueprint = Blueprint("part", "shop")
    blueprint.register_error_handler(429, lambda error: ("part", 429))
    for holder, path in ((blueprint, "/part"), (app, "/whole")):
        holder.add_url_rule(path, path[1:], lockwatch.limit("1/minute")(lambda: "fine"))
    app.register_blueprint(blueprint)
    client = app.test_client()
    for path in ("/part", "/whole"):
        client.get(path)
    assert client.get("/part").text == "part"
    assert client.get("/whole").json["error"] == "rate_limit_exceeded"


def test_a_handler_for_every_exception_is_not_asked(app: Flask, lockwatch: LockWatch) -> None:
    app.register_error_handler(Exception, lambda error: ("oops", 500))
    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    assert statuses(app, "/a", 2) == [200, 429]


def test_handlers_of_token_errors(app: Flask, lockwatch: LockWatch) -> None:
    app.register_error_handler(TokenError, lambda error: (error.code, 403))
    app.add_url_rule("/a", "a", lockwatch.jwt_required()(lambda: "fine"))
    answer = app.test_client().get("/a")
    assert (answer.status_code, answer.text) == (403, "missing_token")


def test_refusals_pass_through_functions_that_add_headers(app: Flask, lockwatch: LockWatch) -> None:
    @app.after_request
    def cors(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = "https://page.example"
        return response

    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    client = app.test_client()
    client.get("/a")
    assert client.get("/a").headers["Access-Control-Allow-Origin"] == "https://page.example"


def test_breaches_are_told(app: Flask, lockwatch: LockWatch) -> None:
    told: list[tuple[str, str]] = []

    async def breach(asked: Any, decision: Any) -> None:
        told.append((asked.path, decision.policy))

    app.add_url_rule("/a", "a", lockwatch.limit("1/minute", on_breach=breach)(lambda: "fine"))
    statuses(app, "/a", 3)
    assert told == [("/a", "1-per-minute")] * 2


# ------------------------------------------------------------ tokens
def bearer(lockwatch: LockWatch, app: Flask, subject: str = "ann", **claims: Any) -> dict[str, str]:
    with app.app_context():
        pair = lockwatch.tokens.issue_token_pair_sync(subject, claims)
    return {"Authorization": f"Bearer {pair.access_token}"}


def test_claims_are_current_and_on_g(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/me")
    @lockwatch.jwt_required(scopes=["profile"])
    def me() -> Any:
        return {
            "user": current_claims["sub"],
            "same": g.jwt_claims.subject,
            "token": g.lockwatch.claims["sub"],
            "user_id": g.lockwatch.user,
        }

    answer = app.test_client().get("/me", headers=bearer(lockwatch, app, scope="profile"))
    assert answer.json == {"user": "ann", "same": "ann", "token": "ann", "user_id": "ann"}


def test_claims_nobody_asked_for_are_an_error_that_says_what_to_do(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/me")
    def me() -> Any:
        with pytest.raises(LookupError, match="jwt_required"):
            current_claims["sub"]
        return "fine"

    assert app.test_client().get("/me", headers=bearer(lockwatch, app)).text == "fine"


def test_a_token_is_required_on_blueprints_classes_methods_and_hooks(app: Flask, lockwatch: LockWatch) -> None:
    guarded, hooked = Blueprint("guarded", "shop", url_prefix="/guarded"), Blueprint("hooked", "shop", url_prefix="/hooked")
    lockwatch.jwt_required()(guarded)

    @hooked.before_request
    @lockwatch.jwt_required(scopes=["admin"])
    def admins() -> None:
        pass

    @lockwatch.jwt_required()
    class Whole(MethodView):
        def get(self) -> str:
            return str(current_claims["sub"])

    class Part(MethodView):
        def get(self) -> str:
            return "open"

        @lockwatch.jwt_required()
        def post(self) -> str:
            return str(current_claims["sub"])

    for blueprint in (guarded, hooked):
        blueprint.add_url_rule("/", "view", lambda: str(current_claims["sub"]))
        app.register_blueprint(blueprint)
    app.add_url_rule("/whole", view_func=Whole.as_view("whole"))
    app.add_url_rule("/part", view_func=Part.as_view("part"))
    paths = [("/guarded/", "GET"), ("/hooked/", "GET"), ("/whole", "GET"), ("/part", "POST")]
    assert [statuses(app, path, method=method)[0] for path, method in paths] == [401] * 4
    headers = bearer(lockwatch, app, scope="admin")
    assert [app.test_client().open(p, method=m, headers=headers).text for p, m in paths] == ["ann"] * 4
    assert statuses(app, "/hooked/", headers=bearer(lockwatch, app)) == [403]
    assert statuses(app, "/part") == [200]


def test_one_round_trip_for_a_token_and_every_limit(redis_server: str) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(
        app, redis_url=redis_server, store_timeout=5.0, jwt=JWT, application_limits="99/minute", secret_key="0" * 16
    )

    @app.get("/me")
    @lockwatch.limit("9/minute;99/hour", key=by_user)
    @lockwatch.jwt_required()
    def me() -> str:
        return "fine"

    headers = bearer(lockwatch, app)
    assert statuses(app, "/me", headers=headers) == [200]
    with watching(redis_server) as watch:
        assert statuses(app, "/me", 5, headers=headers) == [200] * 5
        heard = [one for one in watch.heard() if one.words[0] == "EVALSHA"]
    lockwatch.close()
    asking = {one.client for one in heard if "enter" in one.scripts}  # others are those of the background
    assert [one.scripts for one in heard if one.client in asking] == [["enter"]] * 5


def test_what_was_left_is_settled_along_with_the_next_request(redis_server: str) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, redis_url=redis_server, store_timeout=5.0, secret_key="0" * 16)
    app.add_url_rule("/a", "a", lockwatch.limit("1 concurrent")(lambda: "fine"))
    app.add_url_rule("/b", "b", lockwatch.limit("1/minute", count="failures")(lambda: "fine"))
    statuses(app, "/a")
    with watching(redis_server) as watch:
        assert [*statuses(app, "/a", 5), *statuses(app, "/b", 5)] == [200] * 10
        heard = [one for one in watch.heard() if one.words[0] == "EVALSHA" and not set(one.scripts) <= BACKGROUND]
    lockwatch.close()
    asking = {one.client for one in heard if "admit" in one.scripts}
    of_requests = [one.scripts for one in heard if one.client in asking]
    assert [scripts[-1] for scripts in of_requests] == ["admit"] * 10  # no request waits for anything else
    assert {name for scripts in of_requests for name in scripts[:-1]} <= {"settle"}
    assert 9 <= sum(one.scripts.count("settle") for one in heard) <= 11


def test_cookies_with_the_proof_that_a_page_of_this_site_sent_them(app: Flask, lockwatch: LockWatch) -> None:
    @app.post("/login")
    def login() -> Response:
        response = make_response("in")
        lockwatch.set_access_cookies(response, lockwatch.tokens.issue_token_pair_sync("ann"))
        return response

    @app.route("/me", methods=["GET", "POST"])
    @lockwatch.jwt_required(locations=("cookie", "header"))
    def me() -> str:
        return str(current_claims["sub"])

    @app.post("/logout")
    def logout() -> Response:
        response = make_response("out")
        lockwatch.unset_access_cookies(response)
        return response

    client = app.test_client()
    https = {"base_url": "https://shop.example"}
    client.post("/login", **https)  # type: ignore[arg-type]
    proof = client.get_cookie("__Host-lockwatch-csrf", domain="shop.example")
    assert proof is not None
    assert client.get("/me", **https).text == "ann"  # type: ignore[arg-type]
    assert client.post("/me", **https).status_code == 403  # type: ignore[arg-type]
    assert client.post("/me", headers={"X-CSRF-Token": proof.value}, **https).text == "ann"  # type: ignore[arg-type]
    client.post("/logout", **https)  # type: ignore[arg-type]
    assert client.get("/me", **https).status_code == 401  # type: ignore[arg-type]


def test_the_endpoints_of_sessions(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, jwt=JWT, **options)
    app.register_blueprint(lockwatch.auth_blueprint())
    pair = lockwatch.tokens.issue_token_pair_sync("ann")
    client = app.test_client()
    assert client.post("/auth/refresh", json={}).status_code == 400
    renewed = client.post("/auth/refresh", json={"refresh_token": pair.refresh_token})
    assert set(renewed.json) == {"access_token", "refresh_token", "access_expires_at", "refresh_expires_at", "token_type"}
    assert (renewed.headers["Cache-Control"], renewed.headers["Content-Type"]) == ("no-store", "application/json")
    headers = {"Authorization": f"Bearer {renewed.json['access_token']}"}
    listed = client.get("/auth/sessions", headers=headers)
    assert [one["current"] for one in listed.json["sessions"]] == [True]
    assert client.get("/auth/sessions").status_code == 401
    assert client.post("/auth/revoke", data={"token": pair.access_token}).status_code == 200
    assert client.post("/auth/logout", headers=headers).status_code == 204
    assert client.post("/auth/refresh", json={"refresh_token": renewed.json["refresh_token"]}).json["error"] == "invalid_grant"
    assert client.post("/auth/refresh", data=b"x" * 20_000, content_type="application/json").status_code == 413
    keys = client.get("/.well-known/jwks.json")
    assert (keys.status_code, keys.content_type) == (200, "application/jwk-set+json")
    assert client.get("/.well-known/jwks.json", headers={"If-None-Match": keys.headers["ETag"]}).status_code == 304
    everywhere = lockwatch.tokens.issue_token_pair_sync("ann")
    assert client.post("/auth/logout-all", headers={"Authorization": f"Bearer {everywhere.access_token}"}).status_code == 204
    lockwatch.close()


def test_without_anybody_to_believe_it_says_what_to_set(app: Flask) -> None:
    lockwatch = LockWatch(app)
    app.testing = True
    app.add_url_rule("/a", "a", lockwatch.jwt_required()(lambda: "fine"))
    with pytest.raises(ConfigurationError, match="set jwt or issuers"):
        app.test_client().get("/a")
    with pytest.raises(ConfigurationError, match="no tokens are issued here"):
        lockwatch.tokens  # noqa: B018


# ------------------------------------------------------------ by hand, modes, health
def test_limits_taken_by_hand(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **options)
    assert [lockwatch.take("mails", "ann", "2/hour").allowed for _ in range(3)] == [True, True, False]
    assert lockwatch.peek("mails", "ann", "2/hour").remaining == 0
    assert lockwatch.reset("mails", "ann", "2/hour")
    assert lockwatch.take("mails", "ann", "2/hour").allowed
    with pytest.raises(ValueError, match="subject is empty"):
        lockwatch.take("mails", "", "2/hour")
    lockwatch.close()


def test_a_limit_taken_inside_a_view(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/a")
    def view() -> str:
        return str([g.lockwatch.take("2/minute").allowed for _ in range(3)])

    assert app.test_client().get("/a").text == "[True, True, False]"


def test_tests_override_the_mode(app: Flask, lockwatch: LockWatch) -> None:
    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    with lockwatch.override(mode="off"):
        assert statuses(app, "/a", 3) == [200, 200, 200]
    assert statuses(app, "/a", 2) == [200, 429]
    with pytest.raises(ConfigurationError), lockwatch.override(mode="loud"):
        pass


def test_operators_see_and_reset_what_was_used(app: Flask, lockwatch: LockWatch) -> None:
    @app.get("/items/<int:number>")
    @lockwatch.limit("2/minute")
    def items(number: int) -> str:
        return str(number)

    statuses(app, "/items/1", 3, environ_base={"REMOTE_ADDR": "203.0.113.7"})
    (usage,) = lockwatch.limits_of("ip:203.0.113.7", "GET /items/<int:number>")
    assert (usage.used, usage.remaining) == (2, 0)
    told = lockwatch.explain("GET /items/<int:number>", "ip:203.0.113.7")
    assert (told.refused_by, told.policies[0].origin) == (("2-per-minute",), f"decorator of {items.__qualname__}")
    assert lockwatch.reset_limits("ip:203.0.113.7") == 1
    assert statuses(app, "/items/2", environ_base={"REMOTE_ADDR": "203.0.113.7"}) == [200]


# ------------------------------------------------------------ several applications, and settings
def test_one_object_serves_several_applications_each_with_its_settings() -> None:
    lockwatch = LockWatch()
    apps = []
    for number in (1, 2):
        app = Flask(f"shop{number}")
        app.config["LOCKWATCH_APPLICATION_LIMITS"] = f"{number}/minute"
        lockwatch.init_app(app)
        app.add_url_rule("/a", "a", lambda: "fine")
        assert app.extensions["lockwatch"] is lockwatch
        apps.append(app)
    assert [statuses(app, "/a", 3) for app in apps] == [[200, 429, 429], [200, 200, 429]]
    with apps[1].app_context():
        assert lockwatch.engine.config.application_limits == "2/minute"
    with pytest.raises(ConfigurationError, match="several applications"):
        lockwatch.take("a", "b", "1/minute")
    lockwatch.close()


def test_an_application_that_is_forgotten_is_freed() -> None:
    lockwatch = LockWatch()
    app = Flask("shop")
    lockwatch.init_app(app)
    statuses(app, "/")
    gone = weakref.ref(app)
    lockwatch.close()
    del app
    gc.collect()
    assert gone() is None


def test_settings_of_the_application_give_way_to_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LOCKWATCH_NAMESPACE", "environment")
    monkeypatch.setenv("LOCKWATCH_HEADERS", "x")
    (tmp_path / "secret").write_text("a secret from a file\n")
    app = Flask("shop")
    app.config.update(
        LOCKWATCH_NAMESPACE="application",
        LOCKWATCH_STORE_TIMEOUT="0.2",
        LOCKWATCH_SECRET_KEY_FILE=str(tmp_path / "secret"),
        OTHER=1,
    )
    config = LockWatch(app, namespace="argument").engine.config
    assert (config.namespace, config.headers, config.store_timeout) == ("argument", "x", 0.2)
    assert config.secrets == ("a secret from a file",)
    given = Flask("given")
    given.config["LOCKWATCH_NAMESPACE"] = "application"
    assert LockWatch(given, LockWatchConfig(namespace="config")).engine.config.namespace == "config"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LOCKWATCH_REDIS_ULR": "redis://localhost"}, "did you mean 'redis_url'"),
        ({"LOCKWATCH_STORE_TIMEOUT": "soon"}, "not a number"),
    ],
)
def test_settings_that_cannot_work_say_what_would(app: Flask, settings: dict[str, Any], said: str) -> None:
    app.config.update(settings)
    with pytest.raises(ConfigurationError, match=said):
        LockWatch(app)


def test_what_cannot_be_decorated_or_installed_says_so(app: Flask, lockwatch: LockWatch) -> None:
    with pytest.raises(ConfigurationError, match="has a LockWatch already"):
        lockwatch.init_app(app)
    for thing in (Thing(), len):
        with pytest.raises(ConfigurationError, match="no view"):
            lockwatch.limit("1/minute")(thing)
    started = Flask("started")
    started.test_client().get("/")
    with pytest.raises(ConfigurationError, match="after the first request"):
        LockWatch(started)
    with pytest.raises(ConfigurationError, match="no application"):
        LockWatch().take("a", "b", "1/minute")


class Thing:
    """Something that is no function."""


def test_an_application_without_init_app_is_limited_in_memory_and_told_so(caplog: pytest.LogCaptureFixture) -> None:
    app, lockwatch = Flask("shop"), LockWatch()
    app.add_url_rule("/a", "a", lockwatch.limit("1/minute")(lambda: "fine"))
    assert statuses(app, "/a", 2) == [200, 429]
    assert [r.message for r in caplog.records if "without init_app" in r.message]


# ------------------------------------------------------------ outages and crowds
@pytest.mark.parametrize(
    ("choice", "expected"),
    [(None, [200, 200, 200]), ("allow", [200, 200, 200]), ("deny", [503, 503, 503]), ("local", [200, 200, 429])],
)
def test_an_outage_means_what_the_policy_says(choice: str | None, expected: list[int]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, redis_url=f"redis://127.0.0.1:{servers.free_port()}", on_redis_failure=choice, secret_key="0" * 16)
    app.add_url_rule("/a", "a", lockwatch.limit("2/minute")(lambda: "fine"))
    assert statuses(app, "/a", 3) == expected
    assert lockwatch.health().status == "degraded"
    with pytest.raises(StoreError):
        lockwatch.peek("a", "b", "1/minute")
    lockwatch.close()


def test_during_an_outage_no_token_is_believed_unless_the_view_says_so() -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, redis_url=f"redis://127.0.0.1:{servers.free_port()}", jwt=JWT, secret_key="0" * 16)
    other = Flask("other")
    token = LockWatch(other, jwt=JWT, secret_key="0" * 16).tokens.issue_token_pair_sync("ann").access_token
    app.add_url_rule("/strict", "strict", lockwatch.jwt_required()(lambda: "fine"))
    app.add_url_rule("/lax", "lax", lockwatch.jwt_required(on_store_error="allow")(lambda: "fine"))
    headers = {"Authorization": f"Bearer {token}"}
    assert [*statuses(app, "/strict", headers=headers), *statuses(app, "/lax", headers=headers)] == [503, 200]
    lockwatch.close()


def test_a_hundred_threads_on_one_bucket_are_admitted_exactly(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **{**options, "store_timeout": 10.0})
    app.add_url_rule("/a", "a", lockwatch.limit("37/hour")(lambda: "fine"))
    statuses(app, "/a")
    start = threading.Barrier(100)

    def ask(_: int) -> list[int]:
        start.wait()
        return statuses(app, "/a", 2)

    with ThreadPoolExecutor(100) as pool:
        seen = [status for pair in pool.map(ask, range(100)) for status in pair]
    lockwatch.close()
    assert (seen.count(200), seen.count(429)) == (36, 164)


def test_racing_failures_are_no_more_than_the_limit(options: dict[str, Any]) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, **{**options, "store_timeout": 10.0})
    start, reached = threading.Barrier(40), []

    @app.post("/login")
    @lockwatch.limit("5/minute", count="failures")
    def login() -> Any:
        reached.append(1)
        return "no", 401

    def ask(_: int) -> int:
        start.wait()
        return statuses(app, "/login", method="POST")[0]

    with ThreadPoolExecutor(40) as pool:
        seen = list(pool.map(ask, range(40)))
    lockwatch.close()
    assert (len(reached), seen.count(401), seen.count(429)) == (5, 5, 35)


def test_a_known_offender_costs_redis_nothing_and_is_told_the_same(redis_server: str) -> None:
    app = Flask("shop")
    lockwatch = LockWatch(app, redis_url=redis_server, store_timeout=5.0, secret_key="0" * 16)
    ran: list[int] = []
    app.before_request(lambda: ran.append(1) and None)
    app.add_url_rule("/a", "a", lockwatch.limit("1/hour")(lambda: "fine"))
    client = app.test_client()
    client.get("/a")
    asked = client.get("/a")
    assert asked.status_code == 429

    def free() -> bool:
        """Whether a refusal asked Redis nothing; the thread in the background has to have heard of it first."""
        watch.heard()
        seen.append(client.get("/a"))
        return not any("admit" in one.scripts for one in watch.heard() if one.words[0] == "EVALSHA")

    seen: list[Any] = []
    deadline = time.monotonic() + 20
    with watching(redis_server) as watch:
        while not free():
            assert time.monotonic() < deadline
    again = seen[-1]
    assert again.status_code == 429
    assert again.json.keys() == asked.json.keys()
    assert {name for name, _ in again.headers} >= {"ratelimit", "ratelimit-policy", "retry-after", "x-ratelimit-reset"}
    assert client.head("/a").data == b""
    assert ran == [1]
    lockwatch.close()


def test_the_log_says_where_settings_came_from(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lockwatch")
    LockWatch(app, namespace="shop")
    statuses(app, "/")
    assert any("namespace from argument" in record.message for record in caplog.records)
    assert current_app is not None
