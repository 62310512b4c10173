"""Sessions over every kind of store, under clocks that a test sets."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from lockwatch.flow import Call, Flow, Reply, run, run_async
from lockwatch.stores.memory import MemoryStore
from lockwatch.tokens.names import Names
from lockwatch.tokens.outcomes import Grant, Issued, Outcome, Rotation
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.refresh import Opaque
from lockwatch.tokens.sealing import Sealer
from lockwatch.tokens.sessions import Sessions
from tests.contract.bench import KINDS, START, make_store

SECOND: Final = 1_000_000
SECRET: Final = b"a secret for the sessions of tests"
GRACE: Final = 10
STORES: Final = KINDS
T = TypeVar("T")


def make_sessions(
    policy: SessionPolicy | None = None, secrets: tuple[bytes, ...] = (SECRET,), namespace: str = "shop", split: bool = False
) -> Sessions:
    """Sessions of an application, as one process has them."""
    return Sessions(Names(namespace, split), Sealer(secrets, namespace), Opaque(secrets, namespace), policy or SessionPolicy())


class Clocked:
    """A store that is told the time with every call, and remembers what it was asked."""

    def __init__(self, store: Any, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.asked: list[Call] = []

    def call(self, call: Call) -> Any:
        """Run one script at the time of the test."""
        self.asked.append(call)
        return self.store.call(call._replace(args=(self.clock.us, *call.args[1:])))


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.us = START

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.us / SECOND

    def advance(self, seconds: float) -> None:
        """Let time pass, or step back."""
        self.us += round(seconds * SECOND)


class Desk:
    """One process that issues and rotates."""

    def __init__(self, kind: str, url: str, policy: SessionPolicy | None = None) -> None:
        self.clock = Clock()
        self.store = Clocked(make_store(kind, url), self.clock)
        self.sessions = make_sessions(policy)

    async def do(self, flow: Flow[T]) -> T:
        """Drive a flow over the store, whatever its colour."""
        if inspect.iscoroutinefunction(self.store.store.call) or "Async" in type(self.store.store).__name__:
            return await run_async(flow, self.store, MemoryStore())
        return run(flow, self.store, MemoryStore())

    async def login(self, subject: str = "user:42", device: Mapping[str, str] | None = None, **claims: Any) -> Issued:
        """A new session."""
        grant = Grant(subject, claims, int(self.clock.now))
        return await self.do(self.sessions.issue(grant, self.clock.now, os.urandom(64), device))

    async def refresh(self, token: str, device: Mapping[str, str] | None = None) -> Rotation:
        """Present a refresh token."""
        return await self.do(self.sessions.rotate(token, self.clock.now, os.urandom(64), device))

    async def outcome(self, token: str) -> Outcome:
        """What comes of presenting a refresh token."""
        return (await self.refresh(token)).outcome

    async def standing(self, session: str, jti: str = "j" * 32) -> Outcome:
        """What the store says of an access token of a session."""
        return (await self.do(self.sessions.standing(session, jti))).outcome

    async def close(self) -> None:
        """Give everything back."""
        closed = getattr(self.store.store, "aclose", None) or getattr(self.store.store, "close", None)
        if closed is not None and inspect.isawaitable(waiting := closed()):
            await waiting


def ask(store: Any, call: Call) -> Reply:
    """Run one script of a blocking store."""
    reply: Reply = store.call(call)
    return reply
