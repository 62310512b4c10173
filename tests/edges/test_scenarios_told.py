"""What both frameworks tell others: the rows that a database keeps, and the alerts that operators get."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockwatch import AnomalyConfig, AuditLogger, AuditQuery, JWTConfig
from lockwatch.errors import SinkError
from tests.alerts.receivers import Receiver, receiver
from tests.edges.shops import COLUMNS, PASSING, Act, Ask, Route, Shop, plain_row

JSON = {"content-type": "application/json"}
JWT = JWTConfig(jwt_secret="a secret of at least 32 characters", refresh_grace_seconds=0)
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
A = "203.0.113.1"


async def test_a_database_has_the_same_rows(tmp_path: Path) -> None:
    shop = Shop(
        [
            Route("/items/{number}", ["2/minute"]),
            Route("/me", jwt={"scopes": ["read"]}),
            Route("/login", [("1/minute", {"count": "failures"})], "POST", logs_in=True),
        ],
        {"jwt": JWT, "bans": True, "audit_headers": ["x-shop"], "audit_redact": ["pin"]},
        auth=True,
    )
    asks: list[Ask | Act] = [
        *[Ask(f"/items/{n}?pin=1234", headers={"x-shop": "north", "x-request-id": f"shop-{n}"}) for n in range(3)],
        Ask("/me", bearer=("ann", "read")),
        Ask("/me", bearer=("ann", "write")),
        Ask("/me"),
        Ask("/none"),
        Ask("/login", "POST", {"x-login": "bad"}),
        Ask("/login", "POST", {"x-login": "ok"}),
        Ask("/auth/refresh", "POST", JSON, refreshes="bob", used=2),
        Act("bans.add", [f"ip:{A}"], {"seconds": 600, "reason": "test"}),
        Ask("/me", peer=A),
        Act("reset_limits", ["ip:192.0.2.1"], said=2),
        Ask("/items/9"),
    ]
    kept = []
    for made in COLUMNS:
        database = f"sqlite+aiosqlite:///{tmp_path}/{made.__name__}.db"
        spool = tmp_path / made.__name__
        column = made(replace(shop, options={**shop.options, "audit_database_url": database, "spool_dir": str(spool)}))
        for ask in asks:
            await (column.act(ask) if isinstance(ask, Act) else column.send(ask))
            await column.settled()
        await delivered(column.engine.audit)
        found = await column.engine.audit.query(AuditQuery(limit=100))
        kept.append(sorted([json.dumps(plain_row(entry), sort_keys=True, default=str) for entry in found]))
        await column.close()
    assert kept[0] == kept[1]
    assert sum('"kind": "http"' in row for row in kept[0]) == sum(isinstance(ask, Ask) for ask in asks)
    for action in ("login", "token.issued", "token.reused", "ban.added", "limit.reset"):
        assert any(f'"action": "{action}"' in row for row in kept[0]), action
    assert not any("1234" in row for row in kept[0])


async def delivered(audit: AuditLogger) -> None:
    """Wait until the rows are in the database: on a busy machine, its tables are made long after what was posted is on disk."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await audit.flush()
        except SinkError:
            assert time.monotonic() < deadline


async def told(shop: Shop, asks: list[Ask], tmp_path: Path, types: set[str]) -> list[list[dict[str, Any]]]:
    """The alerts of each framework, until there is one of each of these types."""
    found = []
    async with AsyncExitStack() as stack:
        for made in COLUMNS:
            there = await stack.enter_async_context(receiver())
            options = {
                **shop.options,
                "webhook_urls": [there.url()],
                "webhook_secrets": [SECRET],
                "allow_private_webhooks": True,
                "spool_dir": str(tmp_path / made.__name__),
            }
            column = made(replace(shop, options=options))
            for ask in asks:
                await column.send(ask)
            await until(lambda there=there: types <= kinds(there), column.engine.flush)  # type: ignore[misc]
            await column.close()
            found.append([plain_alert(json.loads(each.body)) for each in there.received])
    return found


def kinds(there: Receiver) -> set[str]:
    return {json.loads(each.body)["type"] for each in there.received}


async def until(happened: Callable[[], bool], flush: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        await flush()
        await asyncio.sleep(0.05)


def plain_alert(alert: dict[str, Any]) -> dict[str, Any]:
    """An alert without ids and times, and without whose session it was."""
    data = {
        name: value
        for name, value in alert["data"].items()
        if name not in (*PASSING, "timestamp", "session", "family", "request_id")
    }
    if "details" in data:
        data["details"] = {name: value for name, value in data["details"].items() if name not in PASSING}
    return {"type": alert["type"], "data": data}


async def test_a_stolen_refresh_token_alerts_alike(tmp_path: Path) -> None:
    shop = Shop([Route("/me", jwt={})], {"jwt": JWT}, auth=True)
    first, other = await told(
        shop, [Ask("/auth/refresh", "POST", JSON, refreshes="bob", used=2)], tmp_path, {"lockwatch.token.reuse"}
    )
    assert first == other
    assert len(first) == 1


async def test_a_burst_alerts_alike(tmp_path: Path) -> None:
    shop = Shop([Route("/a")], {"anomaly": AnomalyConfig(burst_threshold=5, burst_window_seconds=60)})
    first, other = await told(shop, [Ask("/a", peer=A)] * 6, tmp_path, {"lockwatch.burst"})
    for alert in (*first, *other):
        assert alert["data"].pop("request_count") in (5, 6)  # as many as were counted together
    assert first == other
    assert [alert["type"] for alert in first] == ["lockwatch.burst"]
