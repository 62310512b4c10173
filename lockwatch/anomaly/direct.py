"""`AnomalyDetector`: bursts, checked by hand wherever there is an address and a Redis. The names are those of lockwatch 0.1."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lockwatch.anomaly.burst import Burst, Request, Verdict, count, keys_of_burst, request_of, told
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.flow import run, run_async
from lockwatch.limits.buckets import Buckets
from lockwatch.subjects import named
from lockwatch.worker import shared


class AnomalyDetector:
    """Notices bursts of an address, and alerts about each of them once in a while.

    Args:
        redis_client: as for `RateLimiter`: a client of either colour, a function that returns one, or a URL. None counts in this
            process's memory.
        config: the threshold, the window and who is alerted; 50 requests in 10 seconds by default.
        engine: where to count, instead of `redis_client`.
        alert: called with each `Burst` somebody has to be told of, on the thread in the background.

    Coroutines are for event loops, the methods that end in `_sync` for blocking code.
    """

    def __init__(
        self,
        redis_client: Any = None,
        config: AnomalyConfig | None = None,
        *,
        engine: Engine | None = None,
        alert: Callable[[Burst], object] | None = None,
    ) -> None:
        self.config = config or AnomalyConfig()
        self.engine = engine or Engine(_settings(redis_client, self.config))
        self._alert = self._raise if alert is None else alert

    async def check(
        self,
        ip: str,
        request_info: Mapping[str, Any] | None = None,
        *,
        endpoint: str = "",
        method: str = "",
        user_agent: str | None = None,
    ) -> bool:
        """Count a request; whether it belongs to a burst: from the threshold-th request of its address within the window on.

        The window slides and is exact. When the store does not answer, this process counts for itself.

        Args:
            ip: the client's address; those of one IPv6 network are one client.
            request_info: `endpoint`, `method` and `user_agent` in a mapping, instead of the arguments.

        Raises: ValueError, for an address that is none.
        """
        request, link = request_of(ip, request_info, endpoint, method, user_agent), self.engine.link
        if not self.config.burst_threshold:
            return False
        buckets, store = await link.ready()
        keys = self._keys(buckets, request.ip)
        verdict = await run_async(count(keys, self.config.burst_threshold, self.config.burst_window_seconds), store, link.memory)
        if verdict.tell and not shared().post("burst alert", partial(self._tell, request, verdict, keys[1])):
            await self._tell(request, verdict, keys[1])
        return verdict.reached

    def check_sync(
        self,
        ip: str,
        request_info: Mapping[str, Any] | None = None,
        *,
        endpoint: str = "",
        method: str = "",
        user_agent: str | None = None,
    ) -> bool:
        """`check` for blocking code."""
        request, link = request_of(ip, request_info, endpoint, method, user_agent), self.engine.link
        if not self.config.burst_threshold:
            return False
        buckets, store = link.ready_sync()
        keys = self._keys(buckets, request.ip)
        verdict = run(count(keys, self.config.burst_threshold, self.config.burst_window_seconds), store, link.memory)
        if verdict.tell and not shared().post("burst alert", partial(self._tell, request, verdict, keys[1])):
            self._alert(request.burst(verdict.requests, self.config.burst_window_seconds, time.time()))
            run(told(keys[1], self.config.alert_cooldown_seconds), store, link.memory)
        return verdict.reached

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of blocking code that are idle."""
        await self.engine.aclose()

    def close(self) -> None:
        """Close the connections of blocking code that are idle."""
        self.engine.link.close()

    def __repr__(self) -> str:
        config = self.config
        return f"AnomalyDetector({config.burst_threshold} in {config.burst_window_seconds:g} s, {self.engine.store_name})"

    def _raise(self, burst: Burst) -> None:
        self.engine.tell("lockwatch.burst", secrets.token_hex(12), time.time_ns() // 1000, burst.data)

    def _keys(self, buckets: Buckets, ip: str) -> tuple[str, str]:
        return keys_of_burst(buckets, named(f"ip:{ip}", self.engine.config.ipv6_prefix), self.config)

    async def _tell(self, request: Request, verdict: Verdict, key: str) -> None:
        """Alert, then let the cool-down begin: who is killed in between leaves a claim that lapses, and another one alerts."""
        self._alert(request.burst(verdict.requests, self.config.burst_window_seconds, time.time()))
        await self.engine.link.drive(told(key, self.config.alert_cooldown_seconds))


def _settings(client: Any, config: AnomalyConfig) -> LockWatchConfig:
    where = {"redis_url": client} if isinstance(client, str) else {"redis": client}
    return LockWatchConfig(
        **where,
        namespace=config.key_prefix.strip(":"),
        secret_key=config.secret_key,
        webhook_urls=tuple(config.webhook_urls),
        webhook_secrets=config.webhook_secrets,
        allow_private_webhooks=config.allow_private_webhooks,
    )
