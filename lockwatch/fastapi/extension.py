"""`LockWatch`: one line to add to an application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, Unpack
from weakref import WeakSet

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from lockwatch.by_hand import charges_of, mark, overriding
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import OUTAGES, ConfigurationError, RequestRefused, TokenError
from lockwatch.event import ADMIN
from lockwatch.fastapi.checkpoint import make_guard
from lockwatch.fastapi.dependency import RateLimit
from lockwatch.fastapi.entrance import Entrance, Threshold
from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.mistakes import UNFINISHED
from lockwatch.fastapi.openapi import document
from lockwatch.fastapi.operating import Operated
from lockwatch.fastapi.plan import EXEMPT, MARK
from lockwatch.fastapi.refusal import handle
from lockwatch.health import Health
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.declaration import Limits, Options
from lockwatch.limits.policy import Charge

F = TypeVar("F", bound=Callable[..., Any])


class LockWatch(Operated):
    """Protects a FastAPI application.

    ``LockWatch(app)`` limits nothing until told, counts in this process, and adds its headers to what limits were decided for.

    Args:
        app: the application; or call `init_app` later.
        config: settings; the options are the fields of `LockWatchConfig` and win over it.

    Raises: ConfigurationError.
    """

    def __init__(self, app: Any = None, config: LockWatchConfig | None = None, **options: Any) -> None:
        self.config = _merge(config, options)
        self.engine = Engine(self.config)
        self.guards: list[Guard] = []
        self.marked: WeakSet[Any] = WeakSet()  # by `limit`; `lockwatch doctor` looks which of them no route has
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Install into an application, before its first request. Raises: ConfigurationError."""
        if not hasattr(app, "build_middleware_stack"):
            raise ConfigurationError(
                f"LockWatch protects an application of FastAPI or Starlette, not {type(app).__name__}; "
                "for one of Flask: from lockwatch_flask import LockWatch"
            )
        if getattr(app.state, "lockwatch", None) is not None:
            raise ConfigurationError("this application has a LockWatch already; create one per application")
        if getattr(app, "middleware_stack", None) is not None:
            raise ConfigurationError("LockWatch(app) came after the application started; create it right after FastAPI()")
        app.state.lockwatch = self
        guard = make_guard(self.engine, app)
        self.guards.append(guard)
        if guard.general:
            # Last of the list is innermost, whatever is added later: refusals then pass through the application's CORS.
            app.user_middleware.append(Middleware(Threshold, guard=guard))
        _wrap_stack(app, guard)
        _join_lifespan(app, guard)
        for error in (RequestRefused, *OUTAGES):
            app.exception_handlers.setdefault(error, handle)
        if self.engine.identity is not None:
            app.exception_handlers.setdefault(TokenError, handle)
        if hasattr(app, "openapi"):
            document(app, guard)

    def limit(self, limits: Any, **options: Unpack[Options]) -> Callable[[F], F]:
        """Limit an endpoint: ``@lockwatch.limit("10/min")``, above or below the route decorator. Options as for `RateLimit`."""
        declaration = RateLimit(limits, **options)

        def limited(endpoint: F) -> F:
            mark(endpoint, MARK, (declaration, *getattr(endpoint, MARK, ())))
            self.marked.add(endpoint)
            return endpoint

        mark(limited, UNFINISHED, True)
        return limited

    def shared_limit(self, limits: Any, shared: str, **options: Any) -> Callable[[F], F]:
        """Limit several endpoints together: they fill one bucket, `shared`."""
        return self.limit(limits, shared=shared, **options)

    def exempt(self, endpoint: F) -> F:
        """Exempt an endpoint from every limit, also those of its router and application."""
        mark(endpoint, EXEMPT, True)
        return endpoint

    async def take(self, name: str, subject: str, limits: Limits, cost: int = 1) -> Decision:
        """Charge `limits` for `subject` anywhere; the decision that refuses, else the one with the least left.

        Args:
            name: the bucket's name, shared by all that use it.
            subject: whom to count.
        """
        outcome = await self.engine.link.drive(self.engine.admission.taking(await self._charges(name, subject, limits, cost)))
        return tightest(outcome.decisions)

    async def peek(self, name: str, subject: str, limits: Limits, cost: int = 1) -> Decision:
        """What `take` would decide, charging nothing. Raises: StoreError."""
        return tightest(
            await self.engine.link.drive(self.engine.admission.peeking(await self._charges(name, subject, limits, cost)))
        )

    async def reset(self, name: str, subject: str, limits: Limits) -> bool:
        """Forget what `take` charged; whether there was anything. Raises: StoreError."""
        found = await self.engine.link.drive(self.engine.admission.resetting(await self._charges(name, subject, limits, 1)))
        self.engine.report(ADMIN, "limit.reset", target=subject, route=name, details={"buckets": found})
        return found > 0

    def health(self) -> Health:
        """The state of this process's protections, as last seen."""
        return self.engine.health()

    async def flush(self) -> None:
        """Wait until everything decided so far is settled, and everything recorded so far has arrived where it goes."""
        await self.engine.admission.settlement.finish()
        await self.engine.flush()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.engine.aclose()

    @contextmanager
    def override(self, *, mode: str) -> Iterator[None]:
        """For tests: another mode while the block runs, in the whole process."""
        with overriding([self.engine], mode):
            yield

    async def _charges(self, name: str, subject: str, limits: Limits, cost: int) -> Sequence[Charge]:
        return charges_of(self.config, await self.engine.link.buckets(), name, subject, limits, cost)


def _merge(config: LockWatchConfig | None, options: dict[str, Any]) -> LockWatchConfig:
    return LockWatchConfig.from_mapping(options) if config is None else config.replaced(options)


def _wrap_stack(app: Any, guard: Guard) -> None:
    build = app.build_middleware_stack

    def build_inside() -> ASGIApp:
        return Entrance(build(), guard)

    app.build_middleware_stack = build_inside


def _join_lifespan(app: Any, guard: Guard) -> None:
    inner, engine = app.router.lifespan_context, guard.engine

    @asynccontextmanager
    async def both(application: Any) -> AsyncIterator[Any]:
        guard.place_gates()
        await engine.open()
        try:
            async with inner(application) as state:
                yield state
        finally:
            await engine.aclose()

    app.router.lifespan_context = both
