"""Chronobot keeps its promises: plans, real costs, sessions, guards, bans, and a log of it all."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from docs.examples.chronobot import create_app
from docs.examples.chronobot.bot import HELP, answer
from lockwatch import LockWatch
from lockwatch.testing import clock
from tests.edges.asgi import Exchange, http
from tests.examples.conftest import HOSTILE, PASSWORD

QUESTION = "What day was 1969-07-20?"
JSON = {"content-type": "application/json"}


class Bot:
    """Chronobot, and how to talk to it."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.lockwatch: LockWatch = app.state.lockwatch

    async def post(self, path: str, content: Any = None, token: str = "", **options: Any) -> Exchange:
        headers = JSON | ({"authorization": f"Bearer {token}"} if token else {})
        body = b"" if content is None else json.dumps(content).encode()
        return await http(self.app, options.pop("method", "POST"), path, body=body, headers=headers, **options)

    async def get(self, path: str, token: str = "", **options: Any) -> Exchange:
        return await self.post(path, token=token, method="GET", **options)

    async def login(self, name: str = "ann", password: str = PASSWORD, **options: Any) -> dict[str, str]:
        answer = await self.post("/login", {"username": name, "password": password}, **options)
        assert answer.status == 200, answer.body
        pair: dict[str, str] = answer.json()
        return pair

    async def token(self, name: str = "ann", **options: Any) -> str:
        return (await self.login(name, **options))["access_token"]

    async def refresh(self, token: str) -> dict[str, str]:
        answer = await self.post("/auth/refresh", {"refresh_token": token})
        assert answer.status == 200, answer.body
        pair: dict[str, str] = answer.json()
        return pair

    async def ask(self, token: str, most: int = 256, text: str = QUESTION, **options: Any) -> Exchange:
        return await self.post("/chat", {"text": text}, token, query_string=f"max_tokens={most}".encode(), **options)

    async def left(self, token: str) -> int:
        usage: dict[str, int] = (await self.get("/usage", token)).json()
        return usage["tokens_left"]


@pytest.fixture
async def bot(environment: Path) -> AsyncIterator[Bot]:
    bot = Bot(create_app())
    yield bot
    await bot.lockwatch.aclose()


async def until(true: Callable[[], Any]) -> Any:
    ends = time.monotonic() + 20
    while not (found := await true()):
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)
    return found


def tokens_of(text: str) -> int:
    return len(text.split())


# ------------------------------------------------------------------------ plans
@pytest.mark.parametrize(("name", "quota"), [("ann", 20), ("pat", 300)])
async def test_a_plan_says_how_many_messages_there_are(bot: Bot, name: str, quota: int) -> None:
    token = await bot.token(name)
    answer = await bot.ask(token)
    assert f'"messages";q={quota};w=60' in (answer.header("ratelimit-policy") or "")
    found = await asyncio.gather(*[bot.ask(token, most=16) for _ in range(24)])
    assert [e.status for e in found].count(200) == min(24, quota - 1)
    if quota < 25:
        refused = next(e for e in found if e.status == 429)
        assert refused.json()["violated-policies"] == ["messages"]
        assert 1 <= int(refused.header("retry-after") or 0) <= 60


async def test_who_waits_as_long_as_told_is_admitted(bot: Bot) -> None:
    with clock(bot.app) as now:
        token = await bot.token()
        found = [await bot.ask(token, most=16) for _ in range(21)]
        assert [e.status for e in found] == [200] * 20 + [429]
        wait = int(found[-1].header("retry-after") or 0)
        now.advance(wait - 1)
        assert (await bot.ask(token)).status == 429
        now.advance(1)
        assert (await bot.ask(token)).status == 200


async def test_users_of_one_address_have_messages_of_their_own(bot: Bot) -> None:
    ann, bob = await bot.token("ann"), await bot.token("bob")
    assert {(await bot.ask(ann)).status for _ in range(21)} == {200, 429}
    assert (await bot.ask(bob)).status == 200


async def test_a_new_plan_counts_from_the_next_refresh_on(bot: Bot) -> None:
    pair, admin = await bot.login("ann"), await bot.token("admin")
    assert (await bot.post("/admin/accounts/ann/plan", {"plan": "pro"}, admin, method="PUT")).status == 200
    assert (await bot.get("/me", pair["access_token"])).json()["plan"] == "free"
    again = (await bot.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})).json()
    assert (await bot.get("/me", again["access_token"])).json()["plan"] == "pro"
    assert (await bot.ask(again["access_token"])).header("ratelimit-policy").count("q=300;w=60") == 1  # type: ignore[union-attr]


async def test_only_administrators_change_plans(bot: Bot) -> None:
    token = await bot.token("ann")
    assert (await bot.post("/admin/accounts/ann/plan", {"plan": "pro"}, token, method="PUT")).status == 403
    assert (await bot.post("/admin/accounts/ann/plan", {"plan": "pro"}, method="PUT")).status == 401
    assert (await bot.get("/me", token)).json()["plan"] == "free"


# ------------------------------------------------------------------- real costs
async def test_a_reply_reserves_an_estimate_and_settles_what_it_cost(bot: Bot) -> None:
    token = await bot.token()
    reply = await bot.ask(token, most=1000)
    assert reply.header("ratelimit").endswith('"tokens";r=1000;t=86400')  # type: ignore[union-attr]
    cost = tokens_of(QUESTION) + tokens_of(reply.body.decode())
    await until(lambda: is_left(bot, token, 2000 - cost))
    assert (await bot.ask(token, most=1000)).status == 200


async def is_left(bot: Bot, token: str, amount: int) -> bool:
    return await bot.left(token) == amount


async def test_a_reply_ends_at_its_estimate(bot: Bot) -> None:
    token = await bot.token()
    reply = await bot.ask(token, most=7)
    assert tokens_of(reply.body.decode()) == 7 - tokens_of(QUESTION)
    await until(lambda: is_left(bot, token, 1993))


async def test_replies_at_once_reserve_no_more_than_there_is(bot: Bot) -> None:
    token = await bot.token()
    found = await asyncio.gather(*[bot.ask(token, most=1000) for _ in range(6)])
    admitted = [e for e in found if e.status == 200]
    assert 2 <= len(admitted) <= 6  # two estimates fit at once; who ended gives back
    cost = sum(tokens_of(QUESTION) + tokens_of(e.body.decode()) for e in admitted)
    await until(lambda: is_left(bot, token, 2000 - cost))


async def test_a_question_that_cannot_be_read_costs_no_tokens(bot: Bot) -> None:
    token = await bot.token()
    assert (await bot.ask(token, text="")).status == 422
    assert (await bot.ask(token, most=0)).status == 422
    await until(lambda: is_left(bot, token, 2000))


async def test_a_client_that_leaves_pays_for_what_it_got(bot: Bot) -> None:
    token = await bot.token()
    got = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"text": QUESTION}).encode(), "more_body": False}

    async def send(message: Any) -> None:
        nonlocal got
        got += bool(message.get("body"))
        if got == 3:
            raise OSError("gone")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/chat",
        "raw_path": b"/chat",
        "root_path": "",
        "scheme": "http",
        "query_string": b"max_tokens=500",
        "headers": [(b"host", b"test"), (b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")],
        "client": ("192.0.2.1", 50000),
        "server": ("test", 80),
        "state": {},
    }
    with pytest.raises(Exception):  # noqa: B017,PT011  # what a server sees depends on the release of Starlette
        await bot.app(scope, receive, send)
    await until(lambda: is_left(bot, token, 2000 - tokens_of(QUESTION) - 3))


# ------------------------------------------------------------------- WebSockets
def test_messages_of_a_socket_are_limited_and_spend_the_same_tokens(environment: Path) -> None:
    app = create_app()
    with TestClient(app, base_url="http://testserver") as client:
        pair = client.post("/login", json={"username": "ann", "password": PASSWORD}).json()
        bearer = {"authorization": f"Bearer {pair['access_token']}"}
        with client.websocket_connect("/chat/socket", headers=bearer) as socket:
            spent = 0
            for _ in range(20):
                socket.send_text(QUESTION)
                spent += tokens_of(QUESTION) + tokens_of(socket.receive_json()["reply"])
            socket.send_text(QUESTION)
            refused = socket.receive_json()
            assert refused["error"] == "slow down"
            assert 0 < refused["retry_after"] <= 60
        assert client.get("/usage", headers=bearer).json()["tokens_left"] == 2000 - spent


def test_browsers_open_a_socket_with_a_subprotocol_and_nobody_without_a_token(environment: Path) -> None:
    app = create_app()
    with TestClient(app) as client:
        token = client.post("/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
        with client.websocket_connect("/chat/socket", subprotocols=["bearer", token]) as socket:
            socket.send_text("hello")
            assert socket.receive_json() == {"reply": HELP}
        with pytest.raises(Exception) as denied, client.websocket_connect("/chat/socket"):  # noqa: PT011
            pass
        assert denied.value.status_code == 401  # type: ignore[attr-defined]


# --------------------------------------------------------------------- sessions
async def test_a_refresh_token_works_once_and_reuse_ends_the_session(bot: Bot) -> None:
    with clock(bot.app) as now:
        first = await bot.login()
        now.advance(60)
        second = await bot.refresh(first["refresh_token"])
        assert second["refresh_token"] != first["refresh_token"]
        assert await bot.refresh(first["refresh_token"]) | {"access_token": ""} == second | {
            "access_token": ""
        }  # an answer was lost
        now.advance(11)
        stolen = await bot.post("/auth/refresh", {"refresh_token": first["refresh_token"]})
        assert (stolen.status, stolen.json()["error"]) == (400, "invalid_grant")
        assert (await bot.post("/auth/refresh", {"refresh_token": second["refresh_token"]})).status == 400
        assert (await bot.get("/me", second["access_token"])).status == 401


async def test_an_access_token_ends_and_its_session_goes_on(bot: Bot) -> None:
    with clock(bot.app) as now:
        pair = await bot.login()
        now.advance(900 + 31)
        assert (await bot.get("/me", pair["access_token"])).status == 401
        assert (await bot.get("/me", (await bot.refresh(pair["refresh_token"]))["access_token"])).status == 200


async def test_logging_out_ends_the_access_token_at_once(bot: Bot) -> None:
    pair = await bot.login()
    assert (await bot.get("/me", pair["access_token"])).status == 200
    assert (await bot.post("/auth/logout", {"refresh_token": pair["refresh_token"]})).status == 204
    assert (await bot.get("/me", pair["access_token"])).status == 401


# ----------------------------------------------------------------------- guards
async def test_forty_wrong_passwords_at_once_reach_the_check_five_times(bot: Bot) -> None:
    wrong = {"username": "bob", "password": "wrong password"}
    found = await asyncio.gather(*[bot.post("/login", wrong, peer=f"192.0.2.{n}") for n in range(1, 41)])
    assert sorted(e.status for e in found) == [401] * 5 + [429] * 35
    assert (await bot.post("/login", wrong | {"password": PASSWORD})).status == 429
    assert (await bot.login("ann"))["token_type"] == "bearer"


@pytest.mark.parametrize("body", list(HOSTILE.values()), ids=list(HOSTILE))
async def test_what_is_no_log_in_is_refused_and_not_repeated(bot: Bot, body: bytes) -> None:
    answer = await http(bot.app, "POST", "/login", body=body, headers=JSON)
    assert 400 <= answer.status < 500
    assert b"correct horse" not in answer.body


async def test_a_burst_is_banned_and_who_is_logged_in_goes_on(bot: Bot) -> None:
    token = await bot.token(peer="198.51.100.7")

    async def banned() -> bool:
        return (await bot.get("/me", peer="198.51.100.7")).status == 403

    await asyncio.gather(*[bot.get("/health", peer="198.51.100.7") for _ in range(100)])
    await until(banned)
    assert (await bot.get("/me", peer="198.51.100.7")).json()["error"] == "banned"
    assert (await bot.get("/me", token, peer="198.51.100.7")).status == 200
    assert (await bot.get("/health", peer="198.51.100.8")).status == 200
    assert [ban.subject for ban in await bot.lockwatch.bans.list()] == ["ip:198.51.100.7"]


# ---------------------------------------------------------------------- the log
async def test_administrators_read_what_happened(bot: Bot) -> None:
    admin = await bot.token("admin")
    ann = await bot.token("ann")
    await bot.ask(ann)
    await bot.post("/admin/accounts/ann/plan", {"plan": "pro"}, admin, method="PUT")
    rows = (await bot.get("/admin/audit", admin, query_string=b"user=ann")).json()
    assert {"login", "token.issued", "request"} <= {row["action"] for row in rows}
    assert [row["endpoint"] for row in rows if row["action"] == "request"] == ["/chat"]
    everything = (await bot.get("/admin/audit", admin)).json()
    assert "plan.changed" in {row["action"] for row in everything}
    page = (await bot.get("/admin/audit", admin, query_string=b"limit=1&cursor=" + everything[0]["cursor"].encode())).json()
    assert page[0]["timestamp"] <= everything[0]["timestamp"]
    assert (await bot.get("/admin/audit", admin, query_string=b"cursor=made-up")).status == 400
    assert (await bot.get("/admin/audit", admin, query_string=b"user=%00")).status == 400
    assert (await bot.get("/admin/audit", ann)).status == 403


async def test_probes_leave_no_rows(bot: Bot) -> None:
    await bot.get("/health")
    await bot.get("/nowhere")
    await bot.lockwatch.flush()
    assert [entry.endpoint for entry in await bot.lockwatch.audit.query(limit=9)] == ["/nowhere"]


# -------------------------------------------------------------------- the start
def test_secrets_are_made_at_the_first_start_for_their_owner_alone(embedded: Path) -> None:
    place = embedded / "chronobot"
    (place / "accounts.db").unlink()
    apps = [create_app(), create_app()]
    for name in ("jwt-secret", "admin-password"):
        assert (place / name).stat().st_mode & 0o777 == 0o600
        assert len((place / name).read_text()) == 64
    assert apps[1].state.accounts.check("admin", (place / "admin-password").read_text())
    assert not apps[1].state.accounts.check("admin", "")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What time is it in Tokyo?", r"In Tokyo it is 21:30 on Tuesday, 24 November 2026\."),
        ("and los angeles", r"In Los Angeles it is 04:30 on Tuesday, 24 November 2026\."),
        ("How long until 2027-01-01?", r"2027-01-01 is a Friday, 38 days from now\."),
        (QUESTION, r"1969-07-20 was a Sunday, \d+ days ago\."),
        ("2026-11-24", r"2026-11-24 is today, a Tuesday\."),
        ("2026-13-24", r"2026-13-24 is no day of the calendar\."),
        ("hello", re.escape(HELP)),
    ],
)
def test_the_bot_knows_what_time_it_is(question: str, expected: str) -> None:
    assert re.fullmatch(expected, answer(question, datetime(2026, 11, 24, 12, 30, tzinfo=UTC)))
