"""An attempt to log in, around the check of the password, whatever the framework."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from lockwatch.engine import Engine
from lockwatch.errors import StepUpRequired
from lockwatch.flow import Steps
from lockwatch.keys import visit_of
from lockwatch.limits.buckets import Buckets
from lockwatch.visit import Visit


class Attempt:
    """Counts an attempt before the password is checked, challenges it while it is under attack, and says what became of it.

    `succeed` or `fail` decide. Where neither is called, an exception with a `status_code` or a `code` of HTTP does, and else the
    status of the response: 401, 403 and 422 are failures, what is below 400 is a success.

    Args:
        engine: whose log-ins.
        request: the request.
        username: who wants to be logged in.
        limits: taken before the check for this user from this network, and given back when the attempt succeeds.

    Raises: LookupError for a request that did not pass lockwatch.
    """

    def __init__(self, engine: Engine, request: Any, username: str, limits: Any = None) -> None:
        self._engine = engine
        self._request = request
        self._username = username
        self._limits = limits
        self._visit: Visit = visit_of(request)  # type: ignore[assignment]

    def fail(self, reason: str = "") -> None:
        """The attempt failed."""
        self._engine.logins.fail(self._visit, self._username, reason)

    def succeed(self) -> None:
        """The attempt succeeded."""
        self._engine.logins.succeed(self._visit, self._username)

    @property
    def asks(self) -> bool:
        """Whether anything has to be asked before the password is checked."""
        return self._limits is not None or bool(len(self._engine.logins.challenges) and self._engine.mode != "off")

    def begin(self) -> None:
        """From now on the status of the response says what becomes of it."""
        self._visit.attempt = self._username

    def entering(self, buckets: Buckets) -> Steps[None]:
        """What is asked. Raises: StepUpRequired, RateLimited, StoreUnavailable."""
        visit, engine = self._visit, self._engine
        if len(engine.logins.challenges) and engine.mode != "off":
            challenge = yield from engine.logins.challenged(visit, self._username, buckets)
            if challenge is not None and not (yield from self._stepping_up(challenge)):
                engine.logins.refuse(visit, challenge)
                if engine.mode == "enforce":
                    raise StepUpRequired(challenge.campaign, challenge.reason)
        if self._limits is not None:
            plan = visit.plan_of_login(self._limits, engine.logins.pair(visit, self._username))
            refused = visit.record((yield from engine.admission.deciding(plan, visit, buckets)))
            if refused is not None:
                raise refused

    def leave(self, error: BaseException | None) -> None:
        """The check is over; perhaps an error says how."""
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        if self._visit.failed is None and isinstance(status, int) and status >= 100:
            self._engine.logins.infer(self._visit, status)

    def _stepping_up(self, challenge: Any) -> Steps[bool]:
        settings = self._engine.anomaly
        if settings is None or settings.step_up is None:
            return False
        passed = settings.step_up(self._request, challenge)
        return bool((yield passed) if isawaitable(passed) else passed)
