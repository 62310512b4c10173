"""`LockWatch`: one line to add to a Flask application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from typing import Any, TypeVar, Unpack, overload
from weakref import WeakKeyDictionary

from flask import Blueprint, Flask, current_app, has_app_context

from lockwatch import native
from lockwatch.by_hand import charges_of, mark, overriding
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.event import ADMIN
from lockwatch.health import Health
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.declaration import Declaration, Limits, Options
from lockwatch.limits.policy import Charge
from lockwatch.tokens import requirement
from lockwatch.tokens.requirement import Requirement
from lockwatch_flask import marks
from lockwatch_flask.enforcing import enforce, inspect
from lockwatch_flask.entrance import Entrance
from lockwatch_flask.guard import Guard
from lockwatch_flask.operating import Operated
from lockwatch_flask.refusal import ensure_handled

F = TypeVar("F", bound=Any)


class LockWatch(Operated):
    """Protects Flask applications.

    ``LockWatch(app)`` limits nothing until told, counts in this process, and adds its headers to what limits were decided for. One
    object may serve several applications, each with the ``LOCKWATCH_*`` of its own configuration.

    Args:
        app: the application; or call `init_app` later.
        config: settings; the options are the fields of `LockWatchConfig` and win over it. With it, neither ``LOCKWATCH_*`` of the
            application nor the environment is read.

    Raises: ConfigurationError.
    """

    def __init__(self, app: Flask | None = None, config: LockWatchConfig | None = None, **options: Any) -> None:
        self._config = config
        self._options = options
        self._engines: WeakKeyDictionary[Flask, Engine] = WeakKeyDictionary()
        if config is not None:
            config.replaced(options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Install into an application, before its first request. Raises: ConfigurationError."""
        if not isinstance(app, Flask):
            raise ConfigurationError(
                f"this LockWatch protects an application of Flask, not {type(app).__name__}; "
                "for one of FastAPI or Starlette: from lockwatch import LockWatch"
            )
        if "lockwatch" in app.extensions:
            raise ConfigurationError("this application has a LockWatch already; call init_app once per application")
        if app._got_first_request:
            raise ConfigurationError("init_app(app) came after the first request; call it where the application is made")
        engine = self.engine_of(app)
        app.extensions["lockwatch"] = self
        if obstacle := native.obstacle():
            engine.warn(f"nothing runs in the background: {obstacle}")
        app.wsgi_app = Entrance(app.wsgi_app, Guard(engine, app))  # type: ignore[method-assign]
        ensure_handled(app)

    @property
    def engine(self) -> Engine:  # type: ignore[override]  # which one depends on the current application
        """The engine of the current application; without one, of the only one there is. Raises: ConfigurationError."""
        if has_app_context() and (found := self._engines.get(current_app._get_current_object())) is not None:  # type: ignore[attr-defined]
            return found
        engines = list(self._engines.values())  # as of now: an application that nobody holds may go at any time
        if len(engines) == 1:
            return engines[0]
        raise ConfigurationError(
            "no application has this LockWatch; call LockWatch(app) or init_app(app)"
            if not engines
            else "several applications have this LockWatch; say which with: with app.app_context(): ..."
        )

    def engine_of(self, app: Flask) -> Engine:
        """The engine of an application, made when it is asked for first. Raises: ConfigurationError."""
        found = self._engines.get(app)
        return self._engines.setdefault(app, Engine(self._settings(app), blocking=True)) if found is None else found

    def limit(self, limits: Any, **options: Unpack[Options]) -> Callable[[F], F]:
        """Limit a view, a method or a class of views, or a blueprint: ``@lockwatch.limit("10/min")``.

        Stands above or below the route decorator. On a function that is no view, it is enforced when that runs. The options are
        those of `Declaration`.
        """
        declaration = Declaration(limits, **options)
        if hasattr(declaration.key, "dependency"):
            raise ConfigurationError("a key given as Depends(...) is for FastAPI; here a key is a function of the request")
        return self._declaring(marks.LIMITS, declaration, lambda: enforce(self, declaration))

    def shared_limit(self, limits: Any, shared: str, **options: Any) -> Callable[[F], F]:
        """Limit several views together: they fill one bucket, `shared`."""
        return self.limit(limits, shared=shared, **options)

    def exempt(self, holder: F) -> F:
        """Exempt a view, a class of views or a blueprint from every limit that stands there or outside of it.

        What is declared further in still counts: on a view of an exempt blueprint, or on a blueprint nested in it.
        """
        mark(holder, marks.EXEMPT, True)
        return holder

    @overload
    def jwt_required(self, holder: F, /) -> F: ...
    @overload
    def jwt_required(self, /, **options: Unpack[requirement.Options]) -> Callable[[F], F]: ...
    def jwt_required(self, holder: Any = None, /, **options: Any) -> Any:
        """Require an access token on a view, a class of views or a blueprint. The options are those of `Requirement`.

        It is checked before the body is read, in the same store call as the limits of the route. `current_claims` and
        `g.jwt_claims` are what it says. Without options, the parentheses may be left out.
        """
        asked = Requirement(**options)
        required = self._declaring(marks.ACCESS, asked, lambda: inspect(self, asked))
        return required if holder is None else required(holder)

    def take(self, name: str, subject: str, limits: Limits, cost: int = 1) -> Decision:
        """Charge `limits` for `subject` anywhere; the decision that refuses, else the one with the least left.

        Args:
            name: the bucket's name, shared by all that use it.
            subject: whom to count.
        """
        engine = self.engine
        return tightest(engine.link.drive_sync(engine.admission.taking(self._charges(name, subject, limits, cost))).decisions)

    def peek(self, name: str, subject: str, limits: Limits, cost: int = 1) -> Decision:
        """What `take` would decide, charging nothing. Raises: StoreError."""
        engine = self.engine
        return tightest(engine.link.drive_sync(engine.admission.peeking(self._charges(name, subject, limits, cost))))

    def reset(self, name: str, subject: str, limits: Limits) -> bool:
        """Forget what `take` charged; whether there was anything. Raises: StoreError."""
        engine = self.engine
        found = engine.link.drive_sync(engine.admission.resetting(self._charges(name, subject, limits, 1)))
        engine.report(ADMIN, "limit.reset", target=subject, route=name, details={"buckets": found})
        return found > 0

    def health(self) -> Health:
        """The state of this process's protections, as last seen."""
        return self.engine.health()

    def flush(self) -> None:
        """Wait until everything decided so far is settled, and everything recorded so far has arrived, in every application."""
        for engine in list(self._engines.values()):
            engine.admission.settlement.finish_sync()
            engine.flush_sync()

    def close(self) -> None:
        """Settle what is left, and close every connection; the next use opens them again."""
        for engine in list(self._engines.values()):
            engine.close()

    @contextmanager
    def override(self, *, mode: str) -> Iterator[None]:
        """For tests: another mode while the block runs, in the whole process and every application."""
        with overriding(list(self._engines.values()), mode):
            yield

    def _settings(self, app: Flask) -> LockWatchConfig:
        if self._config is not None:
            return self._config.replaced(self._options)
        return LockWatchConfig.from_settings(app.config, self._options)

    def _charges(self, name: str, subject: str, limits: Limits, cost: int) -> list[Charge]:
        engine = self.engine
        return list(charges_of(engine.config, engine.link.buckets_sync(), name, subject, limits, cost))

    def _declaring(self, name: str, declared: object, act: Callable[[], None]) -> Callable[[F], F]:
        def declaring(holder: Any = None) -> Any:
            if holder is None:  # it became the view itself
                raise ConfigurationError("a view has @lockwatch.limit without a limit; write @lockwatch.limit('10/minute')")
            if not isfunction(holder) and not isinstance(holder, type | Blueprint):
                raise ConfigurationError(
                    f"{holder!r} is no view, no class of views and no blueprint; decorate the function or the blueprint"
                )
            mark(holder, name, (declared, *getattr(holder, name, ())))
            return _acting(holder, act) if isfunction(holder) else holder

        return declaring


def _acting(function: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    """`function` behind what its decorator asks for; async where it is."""
    if iscoroutinefunction(function):

        @wraps(function)
        async def acting_async(*args: Any, **kwargs: Any) -> Any:
            act()
            return await function(*args, **kwargs)

        return acting_async

    @wraps(function)
    def acting(*args: Any, **kwargs: Any) -> Any:
        act()
        return function(*args, **kwargs)

    return acting
