"""Livestotell keeps its promises: cookies and CSRF, shared limits, guards, bans, and a log that administrators export."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from docs.examples.livestotell import create_app
from docs.examples.livestotell.protection import lockwatch
from lockwatch.testing import clock
from lockwatch.tokens.access_cookie import CSRF
from lockwatch.tokens.refresh_cookie import NAME as REFRESH
from tests.examples.conftest import HOSTILE, PASSWORD

STORY = {"title": "The well", "text": "Once upon a time there was a well."}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """A client with a jar of cookies, as a page of the site uses it."""

    def __init__(self, app: Flask, address: str = "192.0.2.1") -> None:
        self.http: FlaskClient = app.test_client()
        self._address = address

    def send(self, method: str, path: str, content: Any = None, headers: dict[str, str] | None = None, proof: bool = True) -> Any:
        cookie = self.http.get_cookie(CSRF, domain="localhost")
        shown = {"X-CSRF-Token": cookie.value} if proof and cookie is not None else {}
        options: dict[str, Any] = {} if content is None else {"json": content}
        return self.http.open(
            path,
            method=method,
            base_url="https://localhost",
            environ_base={"REMOTE_ADDR": self._address},
            headers={**shown, **(headers or {})},
            buffered=True,  # read to its end, as a server does: a request has ended when its response has
            **options,
        )

    def get(self, path: str, **options: Any) -> Any:
        return self.send("GET", path, **options)

    def post(self, path: str, content: Any = None, **options: Any) -> Any:
        return self.send("POST", path, content, **options)

    def login(self, name: str, password: str = PASSWORD) -> int:
        status: int = self.post("/login", {"username": name, "password": password}).status_code
        return status

    def story(self) -> str:
        answer = self.post("/stories", STORY)
        assert answer.status_code == 201, answer.data
        return f"/stories/{answer.json['id']}"


@pytest.fixture
def app(environment: Path) -> Iterator[Flask]:
    app = create_app()
    with app.app_context():
        yield app
        lockwatch.engine.close()


def signed_in(app: Flask, name: str = "ann", address: str = "192.0.2.1") -> Browser:
    browser = Browser(app, address)
    assert browser.login(name) == 200
    return browser


def until(true: Callable[[], Any]) -> Any:
    ends = time.monotonic() + 20
    while not (found := true()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found


def exported(browser: Browser, question: str = "") -> list[dict[str, Any]]:
    answer = browser.get(f"/admin/audit.jsonl{question}")
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


# ----------------------------------------------------------------------- stories
def test_everybody_reads_and_who_is_signed_in_writes(app: Flask) -> None:
    ann, stranger = signed_in(app), Browser(app, "192.0.2.2")
    assert stranger.post("/stories", STORY).status_code == 401
    path = ann.story()
    assert stranger.get(path).json == STORY | {"author": "ann", "id": path.rpartition("/")[2]}
    assert [story["title"] for story in stranger.get("/stories").json] == ["The well"]
    assert ann.post(f"{path}/comments", {"text": "How deep?"}).status_code == 201
    assert [comment["text"] for comment in stranger.get(f"{path}/comments").json] == ["How deep?"]
    assert stranger.get("/stories/00000000-0000-4000-8000-000000000000/comments").status_code == 404


def test_authors_and_administrators_remove_stories(app: Flask) -> None:
    ann, bob, admin = signed_in(app, "ann"), signed_in(app, "bob"), signed_in(app, "admin")
    first, second = ann.story(), ann.story()
    assert [who.send("DELETE", first).status_code for who in (bob, ann, ann)] == [403, 204, 404]
    assert admin.send("DELETE", second).status_code == 204


@pytest.mark.parametrize("content", [{}, {"title": "x"}, {"title": "", "text": "x"}, {"title": 1, "text": "x"}, [], "\ud800"])
def test_what_is_no_story_is_refused(app: Flask, content: Any) -> None:
    assert signed_in(app).post("/stories", content).status_code == 422


def test_stories_and_comments_are_written_from_one_purse(app: Flask) -> None:
    ann = signed_in(app)
    path = ann.story()
    found = [ann.post(f"{path}/comments", {"text": "again"}) for _ in range(10)]
    assert [answer.status_code for answer in found] == [201] * 9 + [429]
    refused = ann.post("/stories", STORY)
    assert (refused.status_code, refused.json["error"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert signed_in(app, "bob").story()


def test_who_waits_as_long_as_told_is_admitted(app: Flask) -> None:
    with clock(app) as now:
        ann = signed_in(app)
        found = [ann.post("/stories", STORY) for _ in range(11)]
        assert [answer.status_code for answer in found] == [201] * 10 + [429]
        now.advance(int(found[-1].headers["Retry-After"]))
        assert ann.story()


# ---------------------------------------------------------------- cookies and CSRF
def test_a_request_of_another_site_is_refused_whatever_cookies_it_has(app: Flask) -> None:
    ann = signed_in(app)
    forged = ann.post("/stories", STORY, proof=False)
    assert (forged.status_code, forged.json["error"]) == (403, "csrf_token")
    elsewhere = ann.post("/stories", STORY, headers={"Origin": "https://evil.example"})
    assert (elsewhere.status_code, elsewhere.json["error"]) == (403, "csrf_origin")
    assert ann.post("/stories", STORY, headers={"Origin": "https://localhost"}).status_code == 201
    assert len(ann.get("/stories").json) == 1


def test_no_script_reads_the_tokens(app: Flask) -> None:
    answer = Browser(app).post("/login", {"username": "ann", "password": PASSWORD})
    cookies = {line.split("=")[0]: line for line in answer.headers.getlist("Set-Cookie")}
    readable = [name for name, line in cookies.items() if "HttpOnly" not in line]
    assert readable == [CSRF]
    assert all("Secure" in line and "SameSite" in line for line in cookies.values())
    assert "token" not in answer.text


def test_a_page_refreshes_and_logs_out(app: Flask) -> None:
    ann = signed_in(app)
    assert ann.post("/auth/refresh").status_code == 403
    assert ann.post("/auth/refresh", headers=SAME_ORIGIN).status_code == 200
    assert ann.get("/me").json == {"username": "ann", "roles": ["user"]}
    assert ann.post("/auth/logout", headers=SAME_ORIGIN).status_code == 204
    assert ann.get("/me").status_code == 401


def test_a_used_refresh_token_ends_the_session_for_everybody(app: Flask) -> None:
    with clock(app) as now:
        ann, thief = signed_in(app), Browser(app, "198.51.100.7")
        stolen = ann.http.get_cookie(REFRESH, domain="localhost", path="/auth")
        assert stolen is not None
        thief.http.set_cookie(REFRESH, stolen.value, domain="localhost", path="/auth", secure=True)
        now.advance(60)
        assert ann.post("/auth/refresh", headers=SAME_ORIGIN).status_code == 200
        now.advance(11)
        assert thief.post("/auth/refresh", headers=SAME_ORIGIN).status_code == 400
        assert ann.post("/auth/refresh", headers=SAME_ORIGIN).status_code == 400
        assert ann.get("/me").status_code == 401


# ------------------------------------------------------------------------- guards
def test_forty_wrong_passwords_at_once_reach_the_check_five_times(app: Flask) -> None:
    def attempt(number: int) -> int:
        return Browser(app, f"192.0.2.{number}").login("bob", "wrong password")

    with ThreadPoolExecutor(40) as pool:
        found = sorted(pool.map(attempt, range(1, 41)))
    assert found == [401] * 5 + [429] * 35
    assert Browser(app).login("bob") == 429
    assert Browser(app).login("ann") == 200


@pytest.mark.parametrize("body", list(HOSTILE.values()), ids=list(HOSTILE))
def test_what_is_no_log_in_is_refused(app: Flask, body: bytes) -> None:
    answer = app.test_client().post("/login", data=body, content_type="application/json", buffered=True)
    assert 400 <= answer.status_code < 500


def test_right_passwords_take_nothing(app: Flask) -> None:
    assert [Browser(app).login("ann") for _ in range(8)] == [200] * 8


def test_who_scans_is_banned(app: Flask) -> None:
    scanner, reader = Browser(app, "198.51.100.7"), Browser(app, "198.51.100.8")
    numbers = iter(range(10_000))
    until(lambda: scanner.get(f"/backup-{next(numbers)}.zip").status_code == 403)
    assert scanner.get("/stories").json["error"] == "banned"
    assert reader.get("/stories").status_code == 200
    assert [ban.subject for ban in lockwatch.bans.list_sync()] == ["ip:198.51.100.7"]


def test_the_probe_is_free(app: Flask) -> None:
    browser = Browser(app)
    found = [browser.get("/health") for _ in range(30)]
    assert {answer.status_code for answer in found} == {200}
    assert "ratelimit" not in found[0].headers


# -------------------------------------------------------------------- the audit log
def test_administrators_export_the_audit_log(app: Flask) -> None:
    ann, admin = signed_in(app), signed_in(app, "admin", "192.0.2.9")
    path = ann.story()
    ann.send("DELETE", path)
    ann.post("/stories", STORY, proof=False)
    rows = exported(admin)
    assert {"login", "token.issued", "request", "story.removed", "audit.exported"} <= {row["action"] for row in rows}
    removed = next(row for row in rows if row["action"] == "story.removed")
    assert (removed["actor"], removed["target"]) == ("ann", f"story:{path.rpartition('/')[2]}")
    requests = [
        (row["method"], row["endpoint"], row["status_code"]) for row in rows if row["kind"] == "http" and row["ip"] == "192.0.2.1"
    ]
    assert requests[::-1] == [("POST", "/login", 200), ("POST", "/stories", 201), ("DELETE", path, 204), ("POST", "/stories", 403)]
    assert {row["user_id"] for row in exported(admin, "?user=ann")} == {"ann"}
    assert ann.get("/admin/audit.jsonl").status_code == 403


def test_an_export_of_nobody_is_refused(app: Flask) -> None:
    assert signed_in(app, "admin").get("/admin/audit.jsonl?user=%00").status_code == 400


def test_an_export_has_every_page(app: Flask) -> None:
    admin = signed_in(app, "admin")
    for number in range(1203):
        lockwatch.audit.record_sync(action="counted", target=str(number))
    rows = [int(row["target"]) for row in exported(admin) if row["action"] == "counted"]
    assert rows == list(range(1203))[::-1]


# --------------------------------------------------------------------- the start
def test_secrets_are_made_at_the_first_start_for_their_owner_alone(embedded: Path) -> None:
    place = embedded / "livestotell"
    (place / "accounts.db").unlink()
    apps = [create_app(), create_app()]
    assert len({app.config["LOCKWATCH_JWT_SECRET"] for app in apps}) == 1
    for name in ("jwt-secret", "admin-password"):
        assert (place / name).stat().st_mode & 0o777 == 0o600
        assert len((place / name).read_text()) == 64
    assert apps[0].extensions["accounts"].check("admin", (place / "admin-password").read_text())
