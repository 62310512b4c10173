"""Wires settings, limits and the link to the store together, for every edge. Opens lazily, closes once."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from lockwatch.admission import Admission
from lockwatch.anomaly.config import AnomalyConfig, alerting, settings_of
from lockwatch.anomaly.logins import Logins
from lockwatch.client import Clients, read_networks, trust
from lockwatch.clock import Clock
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError, StoreError
from lockwatch.event import Event
from lockwatch.health import Health
from lockwatch.limits import flows
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.standing import application_limits
from lockwatch.link import Link
from lockwatch.pump import PERIOD, Consumer, Pump, weakly
from lockwatch.stream import Stream

if TYPE_CHECKING:
    from lockwatch.alerts.dispatch import Alerts
    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.watcher import Watcher
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.audit.recorder import Recorder
    from lockwatch.identity import Identity
    from lockwatch.spool.directory import Directory

logger = logging.getLogger("lockwatch")
_OF_BANS: Final = {
    "ban.added": "lockwatch.ban.created",
    "ban.lifted": "lockwatch.ban.removed",
    "ban.expired": "lockwatch.ban.expired",
}
"""What is told of what becomes of bans."""
LEAVING: Final = 5.0
"""Seconds that the end of an application waits for its events at most."""


class Engine:
    """One application's protections, whatever the framework.

    Args:
        config: validated settings.
        blocking: requests are served by blocking code.
    """

    def __init__(self, config: LockWatchConfig, blocking: bool = False) -> None:
        self.config = config
        self.clients = Clients(trust(config.trusted_proxies), config.forwarded_header, config.ipv6_prefix)
        self.exempt = read_networks(config.exempt_networks, "exempt_networks")
        self.application = application_limits(config)
        self.defaults = () if config.default_limits is None else (Declaration(config.default_limits),)
        self.warnings: list[str] = []
        self.clock = Clock()
        self.link = Link(config, self.warn, blocking=blocking, time=self.clock)
        self.admission = Admission(config, self.link)
        self.stream: Stream | None = None
        self.consumers: list[Consumer] = []
        self._pump: Pump | None = None
        self.identity = self._identity()
        self.anomaly = settings_of(config)
        self.bans = self._bans()
        self.logins = Logins(self.anomaly, config.ipv6_prefix, self.clock.steady)
        self.alerts = self._alerts()
        self.recorder = self._recording()
        self.watcher = self._watcher()
        self.logins.report = self.post
        if self.bans is not None:
            self.bans.report = self.changed
        if config.in_memory and config.processes > 1:
            self.warn(
                f"the memory store counts per process, and there are {config.processes}: "
                "set redis_url, or every limit is multiplied by that"
            )

    @property
    def mode(self) -> str:
        """``enforce``, ``observe`` or ``off``."""
        return self.admission.mode

    @property
    def store_name(self) -> str:
        """Where buckets live, without credentials."""
        return self.link.name

    def listen(self, consumer: Consumer, first: bool = False) -> Stream:
        """Have `consumer` called with everything that happens, on the worker, in portions; before the others with `first`.

        From then on the edges post what they see.
        """
        stream, _ = self._streaming()
        self.consumers.insert(0 if first else len(self.consumers), consumer)
        return stream

    def report(self, kind: str, action: str, **fields: Any) -> None:
        """Tell those that want events what somebody did; `fields` are those of `Event`."""
        self.post(Event(time_us=time.time_ns() // 1000, kind=kind, action=action, **fields))

    @cached_property
    def audit(self) -> AuditLogger:
        """The audit log, for the application itself. Raises: ConfigurationError, where there is none."""
        if self.recorder is None:
            raise ConfigurationError("there is no audit log; set audit_database_url, like 'sqlite+aiosqlite:///audit.db'")
        from lockwatch.audit.logger import AuditLogger

        return AuditLogger(recording=self, config=self.config)

    def post(self, event: Event) -> None:
        """Tell whoever wants events of one; from any thread."""
        if self.stream is not None:
            self.stream.post(event)

    async def flush(self, within: float = 10.0) -> bool:
        """Wait until everything posted so far has gone where it goes; False when that takes longer than `within` seconds."""
        return self._pump is None or await self._pump.flush(within)

    def flush_sync(self, within: float = 10.0) -> bool:
        """`flush` for blocking code."""
        return self._pump is None or self._pump.flush_sync(within)

    def warn(self, message: str) -> None:
        """Report a set-up problem: once in the log, always in `health()`."""
        if message not in self.warnings and len(self.warnings) < 100:
            self.warnings.append(message)
            logger.warning(message)

    def health(self) -> Health:
        """A report on what was seen so far; it asks nobody."""
        link = self.link
        error, warnings = link.notes.error, (*self.warnings, *link.notes.complaints)
        if self.identity is not None:
            warnings += self.identity.complaints
        if self.watcher is not None:
            warnings += self.watcher.complaints
        alerts = () if self.alerts is None else self.alerts.complaints
        warnings += alerts
        audit = None if self.recorder is None else self.recorder.health()
        healthy = not error and not warnings and not link.memory.overflowed and (audit is None or audit.ok)
        return Health(
            "ok" if healthy else "degraded",
            self.mode,
            link.name,
            not error,
            error,
            len(link.memory),
            link.memory.overflowed,
            warnings,
            link.breaker.state,
            link.workers,
            link.worker,
            "off" if self.alerts is None else "; ".join(alerts) or "ok",
            audit,
        )

    def _identity(self) -> Identity | None:
        """Who is believed, where tokens are; else nothing of them is imported."""
        if not self.config.has_tokens:
            return None
        from lockwatch.identity import Identity

        return Identity(self.config, self.link, self.clock.now, tell=self._tell, spools=self._spools())

    def _tell(self, event: Event) -> None:
        """Post what became of tokens, with who sent the request in which it did."""
        if self.stream is not None:
            from lockwatch.visit import attribute

            attribute(event)
            self.stream.post(event)

    def _bans(self) -> Bans | None:
        """Who is banned, where anybody may be."""
        if self.anomaly is None and not self.config.bans:
            return None
        from lockwatch.anomaly.bans import Bans

        settings = self.anomaly or AnomalyConfig(burst_threshold=0)
        return Bans(self.config, settings, self.link, trust(self.config.trusted_proxies), self.exempt, self.clock.steady)

    def _watcher(self) -> Watcher | None:
        """Who watches for attacks, where that is wanted."""
        if self.anomaly is None or self.bans is None:
            return None
        from lockwatch.anomaly.watcher import Watcher

        watcher = Watcher(self.anomaly, self.config.namespace, self.link, self.logins, self.bans, self.tell, self.post)
        self.listen(watcher.consume, first=True)
        return watcher

    def tell(self, kind: str, name: str, at_us: int, data: Mapping[str, Any]) -> None:
        """Alert people, or where nobody is to be alerted, the log."""
        if self.alerts is None:
            logger.warning("lockwatch: %s: %s", kind, data.get("reason") or f"see {name}")
            return
        from lockwatch.alerts.alert import Alert

        self.alerts.raise_(Alert(name, kind, at_us, data))

    def changed(self, event: Event) -> None:
        """A ban was made, lifted, or is over."""
        self.post(event)
        if self.alerts is not None and (kind := _OF_BANS.get(event.action)) is not None:
            data = {"subject": event.target, "by": event.actor, "reason": "; ".join(event.reasons), **event.details}
            self.tell(kind, secrets.token_hex(12), event.time_us, data)

    async def open(self) -> None:
        """Fetch and connect what the first request would have to; an outage here is reported, not raised."""
        self._say_where()
        if self.stream is not None:
            self.stream.wake()
        if self.alerts is not None:
            self.alerts.begin()
        if self.identity is not None:
            await self.identity.open()
        with suppress(StoreError):
            await self.link.buckets()
            await self.link.drive(flows.peek((), flows.Terms("")))  # loads the script
            if self.bans is not None:
                await self.bans.hear()

    def open_sync(self) -> None:
        """`open` for blocking code; the background begins."""
        self._say_where()
        if self.stream is not None:
            self.stream.wake()
        if self.alerts is not None:
            self.alerts.begin()
        self.link.sync_store()
        if self.identity is not None:
            self.identity.open_sync()

    async def aclose(self) -> None:
        """Finish what nobody waited for, and close the connections of the running event loop."""
        await self.admission.settlement.finish()
        if self._pump is not None:
            self._pump.stream.rest()
            await self._pump.flush(LEAVING, end=True)
        if self.alerts is not None:
            await self.alerts.aclose()
        if "audit" in self.__dict__:
            await self.audit.close()
        await self.link.aclose()
        if self.identity is not None:
            await self.identity.aclose()

    def _say_where(self) -> None:
        origins = ", ".join(f"{name} from {source}" for name, source in sorted(self.config.sources.items()))
        logger.info("lockwatch: store %s, mode %s%s", self.store_name, self.mode, f"; {origins}" if origins else "")

    def close(self) -> None:
        """`aclose` for blocking code: its connections, and those of the background."""
        self.admission.settlement.finish_sync()
        if self._pump is not None:
            self._pump.stream.rest()
            self._pump.flush_sync(LEAVING, end=True)
        if self.alerts is not None:
            self.alerts.close()
        if "audit" in self.__dict__:
            self.audit.close_sync()
        self.link.close()
        if self.identity is not None:
            self.identity.close()

    def _streaming(self) -> tuple[Stream, Pump]:
        if self.stream is None or self._pump is None:
            self.stream = Stream(self.link.work)
            self._pump = Pump(self.stream, self.consumers)
            self.link.every(PERIOD, self._pump.step, "events", ending=weakly(self._pump.end))
        return self.stream, self._pump

    def _recording(self) -> Recorder | None:
        """The audit log, where there is one; else nothing of it is imported."""
        if not self.config.has_audit:
            return None
        from lockwatch.audit.recorder import Recorder
        from lockwatch.audit.settings import audit_settings

        stream, pump = self._streaming()
        recorder = Recorder(audit_settings(self.config, self._spools()), stream)
        self.listen(recorder.consume)
        pump.chores.append(recorder.settle)
        pump.finishers.append(recorder.finish)
        pump.endings.append(recorder.close)
        if self.alerts is not None:
            self.alerts.audit = lambda: recorder.health().problems
        return recorder

    def _spools(self) -> Directory | None:
        """Where this application keeps what must outlive the process."""
        from lockwatch.spool.directory import directory_at

        return directory_at(self.config.spool_dir, self.config.namespace)

    def _alerts(self) -> Alerts | None:
        """Who is alerted, where anybody is; else nothing of it is imported."""
        config = alerting(self.config, self.anomaly)
        if not (config.webhook_urls or config.slack_urls or config.alerts):
            return None
        from lockwatch.alerts.setup import make_alerts

        alerts = make_alerts(config, self._spools(), self.warn)
        self.link.every(0.25, alerts.deliver, "alerts")
        self.listen(alerts.watch)
        return alerts
