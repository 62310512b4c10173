"""What an application reports, as a test sees it."""

from __future__ import annotations

import pytest

from lockwatch import AnomalyConfig, TokenError
from lockwatch.testing import captured_events, clock, token_for
from tests.testing.shops import Shop, fastapi_shop


def search(shop: Shop) -> None:
    """A request whose response is read to its end: Flask ends it no sooner."""
    response = shop.client.get("/search")
    assert response.get_data() if hasattr(response, "get_data") else response.content


def test_events_are_there_as_soon_as_the_response_is(shop: Shop) -> None:
    with captured_events(shop.app) as events:
        assert len(events) == 0
        search(shop)
        assert (events[0].route, events[0].status, events[0].decision) == ("/search", 200, "allowed")
        for _ in range(5):
            search(shop)
        assert [event.status for event in events.of(decision="limited", method="GET")] == [429]
        assert [event.status for event in events[-2:]] == [200, 429]
        assert "http request refused: GET /search 429" in repr(events)
        events.clear()
        token_for(shop.app, "alice")
        assert [event.action for event in events] == ["token.issued"]
    search(shop)
    assert len(events) == 1, "the block is over"


def test_an_unknown_field_is_an_error(plain: Shop) -> None:
    with captured_events(plain.app) as events:
        search(plain)
        with pytest.raises(AttributeError):
            events.of(colour="red")


async def test_alerts_are_captured_and_sent_nowhere() -> None:
    shop = fastapi_shop(webhook_urls="https://hooks.example.com/x", webhook_secrets="whsec_" + "A" * 32)
    before = shop.lockwatch.engine.alerts
    with captured_events(shop.app) as events:
        await shop.lockwatch.bans.add("198.51.100.7", reason="a test")
        assert [alert.type for alert in events.alerts] == ["lockwatch.ban.created"]
        assert events.of(action="ban.added")[0].target == "ip:198.51.100.7"
    assert shop.lockwatch.engine.alerts is before
    assert before.audit is None


async def test_the_reuse_of_a_token_is_alerted_also_where_nobody_is_told() -> None:
    for options in ({}, {"webhook_urls": "https://hooks.example.com/x", "webhook_secrets": "whsec_" + "A" * 32}):
        shop = fastapi_shop(**options)
        tokens = shop.lockwatch.tokens
        pair = await tokens.issue_token_pair("alice")
        await tokens.rotate(pair.refresh_token)
        with clock(shop.app) as held, captured_events(shop.app) as events:
            held.advance(60)
            with pytest.raises(TokenError, match="used before"):
                await tokens.rotate(pair.refresh_token)
            assert [event.action for event in events] == ["token.reused"]
            assert len(events.alerts) == 1


async def test_bursts_are_alerts() -> None:
    shop = fastapi_shop(anomaly=AnomalyConfig(burst_threshold=3, burst_window_seconds=60))
    with captured_events(shop.app) as events:
        for _ in range(4):
            shop.client.get("/search")
        assert len(events) >= 4
        assert [alert.type for alert in events.alerts] == ["lockwatch.burst"]
