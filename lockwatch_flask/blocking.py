"""What stands at the doors of a WSGI application of any kind: the steps of a guard, driven in blocking code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flask import current_app, has_app_context

from lockwatch import guard
from lockwatch.capture import READ
from lockwatch.engine import Engine
from lockwatch.errors import RequestRefused, StoreError, StoreFull
from lockwatch.flow import Steps, run
from lockwatch.guard import Refused, method_named
from lockwatch.keys import BodyKey
from lockwatch.limits import flows
from lockwatch.limits.flows import Outcome
from lockwatch.limits.plan import Plan
from lockwatch_flask.body import fields_of

if TYPE_CHECKING:
    from lockwatch_flask.visit import Visit

T = TypeVar("T")


class Blocking(guard.Guard):
    """A guard whose steps wait by themselves.

    Attributes:
        heads: the headers that events are made of, and what they are called in the environment of a request.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        kept = engine.config.audit_headers
        names = [name.strip().lower().encode("latin-1") for name in ([kept] if isinstance(kept, str) else kept)]
        self._direct = self.asks_nobody and not engine.link.split
        self.heads = tuple([(name, variable_of(name)) for name in dict.fromkeys([*READ, *names])])

    @property
    def app(self) -> Any:
        """What makes requests for functions of the application."""
        raise NotImplementedError

    def check(self, visit: Visit, plan: Plan) -> Refused | None:
        """Decide what `plan` says before the body is read, and record it on the visit; the refusal, when there is one."""
        if plan.plain and self._direct:
            visit.plan = plan
            return visit.record(self._decide(plan, visit)) if plan.steps else None
        plan = self.applying(visit, plan)
        return self.pursue(self.checking, visit, plan) if plan.steps or plan.access else None

    def _decide(self, plan: Plan, visit: Visit) -> Outcome:
        """What a plain plan says: the same steps as those of the flow, without its frames between a request and its answer."""
        link, admission = self.engine.link, self.admission
        buckets, store = link.at_once()
        asked = admission.asking(plan, visit, buckets)
        if isinstance(asked, Outcome):
            return admission.noted(asked)
        charged, terms, call = asked
        try:
            reply = store.call(call)
        except StoreError as error:
            outcome = run(flows.without_store(charged, terms, isinstance(error, StoreFull)), store, link.memory)
        else:
            outcome = flows.outcome(charged, reply, terms)
        return admission.noted(outcome)

    def check_body(self, visit: Visit, plan: Plan) -> RequestRefused | None:
        """Decide what `plan` says with the body; a refusal gives back what was charged before it."""
        found = {
            step.declaration: step.declaration.key.subject(fields_of(step.declaration.key, plan.reads), visit.client)
            for step in plan.later
            if isinstance(step.declaration.key, BodyKey)
        }
        return self.pursue(self.checking_later, visit, plan, plan.later, found.__getitem__)

    def pursue(self, steps: Callable[..., Steps[T]], *args: Any) -> T:
        """Run a flow that names buckets."""
        return self.engine.link.pursue_sync(steps, *args, wait=wait)

    def method_of(self, environ: dict[str, Any]) -> str:
        """The method a bucket is named after."""
        return method_named(environ["REQUEST_METHOD"])


def variable_of(name: bytes) -> str:
    """What a header of that lower-case name is called in the environment of a WSGI request."""
    plain = name.decode("latin-1").upper().replace("-", "_")
    return plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{plain}"


def wait(awaitable: Awaitable[Any]) -> Any:
    """Wait for what an async function of the application returned, as Flask does for async views."""
    if not has_app_context():
        import asyncio

        return asyncio.run(_awaited(awaitable))
    return current_app.async_to_sync(_awaited)(awaitable)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
