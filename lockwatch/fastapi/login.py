"""An attempt to log in, for ``async with`` around the check of the password."""

from __future__ import annotations

from types import TracebackType

from lockwatch.attempt import Attempt


class LoginAttempt(Attempt):
    """An `Attempt` on an event loop. Entering raises StepUpRequired, RateLimited or StoreUnavailable."""

    async def __aenter__(self) -> LoginAttempt:
        self.begin()
        if self.asks:
            await self._engine.link.pursue(self.entering)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave(error)
