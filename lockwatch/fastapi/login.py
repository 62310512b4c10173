"""An attempt to log in, around the check of the password."""

from __future__ import annotations

from inspect import isawaitable
from types import TracebackType
from typing import Any

from lockwatch.anomaly.challenge import Challenge
from lockwatch.engine import Engine
from lockwatch.errors import StepUpRequired
from lockwatch.keys import visit_of
from lockwatch.visit import Visit


class LoginAttempt:
    """Counts an attempt before the password is checked, challenges it while it is under attack, and says what became of it.

    Within ``async with``: `succeed` or `fail` decide. Where neither is called, an exception with a `status_code` does, and else the
    status of the response: 401, 403 and 422 are failures, what is below 400 is a success.

    Args:
        engine: whose log-ins.
        request: the request.
        username: who wants to be logged in.
        limits: taken before the check for this user from this network, and given back when the attempt succeeds.

    Raises: StepUpRequired, RateLimited, StoreUnavailable, on entering; LookupError for a request that did not pass lockwatch.
    """

    def __init__(self, engine: Engine, request: Any, username: str, limits: Any = None) -> None:
        self._engine = engine
        self._request = request
        self._username = username
        self._limits = limits
        self._visit: Visit = visit_of(request)  # type: ignore[assignment]

    async def __aenter__(self) -> LoginAttempt:
        visit, engine = self._visit, self._engine
        visit.attempt = self._username
        if len(engine.logins.challenges) and engine.mode != "off":
            challenge = await engine.link.pursue(engine.logins.challenged, visit, self._username)
            if challenge is not None and not await self._stepped_up(challenge):
                engine.logins.refuse(visit, challenge)
                if engine.mode == "enforce":
                    raise StepUpRequired(challenge.campaign, challenge.reason)
        if self._limits is not None:
            plan = visit.plan_of_login(self._limits, engine.logins.pair(visit, self._username))
            refused = visit.record(await engine.link.pursue(engine.admission.deciding, plan, visit))
            if refused is not None:
                raise refused
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status = getattr(error, "status_code", None)
        if self._visit.failed is None and isinstance(status, int):
            self._engine.logins.infer(self._visit, status)

    def fail(self, reason: str = "") -> None:
        """The attempt failed."""
        self._engine.logins.fail(self._visit, self._username, reason)

    def succeed(self) -> None:
        """The attempt succeeded."""
        self._engine.logins.succeed(self._visit, self._username)

    async def _stepped_up(self, challenge: Challenge) -> bool:
        settings = self._engine.anomaly
        if settings is None or settings.step_up is None:
            return False
        passed = settings.step_up(self._request, challenge)
        return bool(await passed if isawaitable(passed) else passed)
