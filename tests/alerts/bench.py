"""Alerts on a clock that a test moves, with outboxes on disk."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockwatch.alerts.alert import ATTACK_DETECTED, Alert
from lockwatch.alerts.channels import Channel, Endpoint, WebhookChannel
from lockwatch.alerts.delivery import Courier
from lockwatch.alerts.dispatch import Alerts
from lockwatch.alerts.outbox import Outbox
from lockwatch.alerts.record import Delivery
from lockwatch.alerts.resolver import Resolver
from lockwatch.alerts.shelf import SpoolShelf
from lockwatch.spool.directory import Directory
from tests.alerts.test_signing import OLD

START = 1_795_500_000.0
ALL = ("waiting", "delivered", "dead")


class Bench:
    """Alerts to `urls`, the parts of them, and the clock."""

    def __init__(self, place: Path, *urls: str, timeout: float = 10.0, **options: Any) -> None:
        self.now = START
        self.shelf = SpoolShelf(Directory(place, "shop"))
        self.count = 0
        courier = Courier(Resolver(lambda host, port: ("127.0.0.1",)), ssl.create_default_context(), timeout, self.clock)
        channels: Sequence[Channel] = [WebhookChannel(url, OLD, allow_private=True) for url in urls]
        endpoints = [Endpoint(channel, "alerts") for channel in channels]
        self.alerts = Alerts(endpoints, **{"shelf": self.shelf, "courier": courier, "clock": self.clock, **options})

    def clock(self) -> float:
        return self.now

    @property
    def box(self) -> Outbox:
        """The outbox of this process."""
        return self.alerts._keeper.boxes[0]

    def alert(self, kind: str = ATTACK_DETECTED, **data: Any) -> Alert:
        self.count += 1
        return Alert(f"msg_{self.count}", kind, int(self.now * 1_000_000), data)

    def raised(self, number: int = 1, kind: str = ATTACK_DETECTED) -> list[str]:
        made = [self.alert(kind) for _ in range(number)]
        assert all(self.alerts.raise_(alert) for alert in made)
        return [alert.id for alert in made]

    async def passes(self, seconds: float, tick: float = 1.0) -> None:
        """Let time pass, and the worker look every `tick` seconds."""
        ends = self.now + seconds
        while self.now < ends:
            self.now = min(self.now + tick, ends)
            await self.alerts.deliver()
            await self.alerts.finish(30.0)

    def deliveries(self, *states: str) -> list[Delivery]:
        return self.alerts.entries(states or ALL, 10_000)
