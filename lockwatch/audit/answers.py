"""Questions to an audit database from any event loop, or none: all are asked on the worker's loop, whose connections they share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from lockwatch import native
from lockwatch.audit.connect import Database
from lockwatch.audit.drivers import is_of_a_database, lacks_tables, told_by
from lockwatch.audit.reading import Reader
from lockwatch.errors import AuditUnreachable, LockwatchError
from lockwatch.worker import Job, shared

T = TypeVar("T")
IDLE: Final = 30.0
"""Seconds after the last question until the connections are closed."""


class Answers:
    """Reads one audit database.

    Args:
        database: which.
        key: what cursors are signed with.
    """

    def __init__(self, database: Database, key: bytes = b"") -> None:
        self._database = database
        self._key = key
        self.forked()
        native.tell_of_forks(self)

    def forked(self) -> None:
        """Begin anew in a child; the connections are the parent's."""
        self.pid = os.getpid()
        self._inherited = getattr(self, "_reader", None)
        self._reader: Reader | None = None
        self._job: Job | None = None
        self._asked = 0.0

    async def ask(self, work: Callable[[Reader], Awaitable[T]]) -> T:
        """Do something with the database. Raises: AuditUnreachable, and the errors of lockwatch that `work` raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Outcome[T]] = loop.create_future()

        def tell(outcome: _Outcome[T]) -> None:
            with suppress(RuntimeError):  # whoever asked has gone, and the loop with them
                loop.call_soon_threadsafe(arrive, outcome)

        def arrive(outcome: _Outcome[T]) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._post(work, tell)
        return (await answer).value()

    def ask_sync(self, work: Callable[[Reader], Awaitable[T]]) -> T:
        """`ask` where no event loop runs."""
        done = native.lock()
        done.acquire()
        told: list[_Outcome[T]] = []

        def tell(outcome: _Outcome[T]) -> None:
            told.append(outcome)
            done.release()

        self._post(work, tell)
        done.acquire()
        return told[0].value()

    async def aclose(self) -> None:
        """Close the connections; a later question opens them again."""
        if self._job is not None:
            await self.ask(self._leave)

    def close(self) -> None:
        """`aclose` where no event loop runs."""
        if self._job is not None:
            self.ask_sync(self._leave)

    def _post(self, work: Callable[[Reader], Awaitable[T]], tell: Callable[[_Outcome[T]], None]) -> None:
        native.at_home(self)
        if not shared().post("a question to the audit log", partial(self._answer, work, tell)):
            raise AuditUnreachable(f"the audit log cannot be asked here: {shared().state}")

    async def _answer(self, work: Callable[[Reader], Awaitable[T]], tell: Callable[[_Outcome[T]], None]) -> None:
        outcome: _Outcome[T] = _Outcome()
        try:
            outcome.result = await work(self._opened())
        except LockwatchError as error:
            outcome.error = error
        except Exception as error:
            outcome.error = _unavailable(error, self._database.shown)
        except BaseException:
            outcome.error = AuditUnreachable("the audit log is being closed")
            raise
        finally:
            tell(outcome)

    def _opened(self) -> Reader:
        self._asked = time.monotonic()
        if self._reader is None:
            self._reader = Reader(self._database, self._key)
            # Not a bound method: the connections are closed even when nobody remembers us.
            self._job = shared().every("questions to the audit log", IDLE, partial(_tidy, self), partial(_let_go, self))
        return self._reader

    async def _leave(self, reader: Reader) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.cancel()
        await _let_go(self)

    def is_idle(self) -> bool:
        """Whether nobody has asked for a while."""
        return time.monotonic() - self._asked >= IDLE


async def _tidy(answers: Answers) -> None:
    if answers.is_idle() and answers._reader is not None:
        await answers._leave(answers._reader)


async def _let_go(answers: Answers) -> None:
    reader, answers._reader = answers._reader, None
    if reader is not None:
        await reader.aclose()


class _Outcome(Generic[T]):
    """What came of a question."""

    error: Exception | None = None
    result: Any = None

    def value(self) -> T:
        """The answer, or its error raised."""
        if self.error is not None:
            raise self.error
        found: T = self.result
        return found


def _unavailable(error: Exception, shown: str) -> Exception:
    """An error of the database as one of ours; a bug as it is."""
    if not is_of_a_database(error):
        return error
    text = told_by(error)
    hint = "; its tables are made by init(), or by: lockwatch db upgrade" if lacks_tables(text) else ""
    found = AuditUnreachable(f"{shown} does not answer: {text}{hint}")
    found.__cause__ = error
    return found
