"""An attempt to log in, for ``with`` around the check of the password."""

from __future__ import annotations

from types import TracebackType

from lockwatch.attempt import Attempt
from lockwatch_flask.blocking import wait


class LoginAttempt(Attempt):
    """An `Attempt` in blocking code. Entering raises StepUpRequired, RateLimited or StoreUnavailable."""

    def __enter__(self) -> LoginAttempt:
        self.begin()
        if self.asks:
            self._engine.link.pursue_sync(self.entering, wait=wait)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.leave(error)
