"""Admission: what the rate limits of one engine say about a request. One store call is all that a request waits for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from inspect import isawaitable
from itertools import count
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from lockwatch.config import LockWatchConfig
from lockwatch.errors import StoreError, StoreFull
from lockwatch.flow import Call, Flow, Steps
from lockwatch.keys import Visit
from lockwatch.limits import flows
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.denied import Denial, Denied, aged
from lockwatch.limits.flows import Outcome, Terms
from lockwatch.limits.plan import Plan, Step, charges, charges_of, make_plan
from lockwatch.limits.policy import Charge
from lockwatch.link import Link
from lockwatch.settlement import Settlement

T = TypeVar("T")
NOTHING: Final = Outcome((), ())
_new: Final[Any] = tuple.__new__
POLL: Final = 0.4
"""Seconds between two questions for the epoch, while offenders are remembered."""


class Asked(NamedTuple):
    """What a store is asked about a request.

    Attributes:
        charges: what the request would be charged.
        terms: on which.
        call: asks the store.
    """

    charges: Sequence[Charge]
    terms: Terms
    call: Call


class Admission:
    """Decides, remembers offenders, and leaves what has to be settled to `settlement`.

    Args:
        config: validated settings.
        link: the stores.

    Attributes:
        mode: ``enforce``, ``observe`` or ``off``.
        denied: the known offenders.
        ids: where decision ids come from.
        settlement: what decisions leave behind.
    """

    def __init__(self, config: LockWatchConfig, link: Link) -> None:
        self.mode = config.mode
        self.denied = Denied()
        self.settlement = Settlement(link)
        self._link = link
        self._tenant = config.tenant
        self._namespace = config.namespace
        self.ids = Ids()
        self._hearing = False
        failures = (
            ()
            if config.auth_failures is None
            else (Declaration(config.auth_failures, name="auth-failures", shared="auth-failures"),)
        )
        self._failures = make_plan(failures, "GET", "", config.on_redis_failure)

    def deciding(self, plan: Plan, visit: Visit, buckets: Buckets) -> Steps[Outcome]:
        """Everything `plan` says before the body is read, in one store call. Calls `on_breach` of the policies that refuse."""
        if self._tenant is not None:
            buckets = self._of_tenant(buckets, visit)
        if plan.fixed is None:
            return self._charging(plan, visit, buckets)
        prepared = plan.prepare(visit.client.subject, buckets)
        return self._admitting(prepared.charges, visit, False, prepared.call)

    def deciding_at_once(self, plan: Plan, visit: Visit, buckets: Buckets) -> Outcome:
        """`deciding`, for a plan that is plain where buckets are in memory: nothing to wait for, and nothing that fails."""
        prepared = plan.prepare(visit.client.subject, buckets)
        terms = self._terms()
        call = flows.call("admit", prepared.charges, terms) if terms.observe else prepared.call
        outcome = flows.outcome(prepared.charges, self._link.memory.call(call), terms)
        if outcome.receipts:
            self.settlement.hold(outcome.receipts)
        self._link.meter.decided(outcome.decisions)
        return outcome

    def asking(self, plan: Plan, visit: Visit, buckets: Buckets) -> Asked | Outcome:
        """What a plain plan asks a store that is one server, for edges that call it themselves; or what is known already."""
        prepared = plan.prepare(visit.client.subject, buckets)
        charged = prepared.charges
        known = self._denied(charged) if self.denied.known and self.mode == "enforce" else None
        if known is not None:
            return known
        terms = self._terms()
        return Asked(charged, terms, flows.call("admit", charged, terms) if terms.observe else prepared.call)

    def noted(self, outcome: Outcome) -> Outcome:
        """Count and remember what was decided by what `asking` gave."""
        if outcome.receipts:
            self.settlement.hold(outcome.receipts)
        self._link.meter.decided(outcome.decisions)
        for decision in outcome.decisions:
            if not decision.allowed:
                self._remember(outcome)
                break
        return outcome

    def entering(
        self, plan: Plan, visit: Visit, buckets: Buckets, enter: Callable[[Sequence[Charge], Terms], Flow[tuple[T, Outcome]]]
    ) -> Steps[tuple[T | None, Outcome]]:
        """`deciding` by a flow that asks something else too, in the same store call; None for the answer to that when a known
        offender is refused without asking. Mode `off` charges nothing.

        Raises: what the flow raises.
        """
        link = self._link
        charged: Sequence[Charge] = ()
        if plan.steps and self.mode != "off":
            charged = yield from charges(plan, visit.request, visit, self._of_tenant(buckets, visit))
        known = self._denied(charged) if self.denied.known and self.mode == "enforce" else None
        if known is not None:
            said, outcome = None, known
        else:
            terms = self._terms(bool(plan.later))
            said, outcome = yield from enter(charged, terms)
            if outcome.receipts:
                self.settlement.hold(outcome.receipts)
        link.meter.decided(outcome.decisions)
        if not all(decision.allowed for decision in outcome.decisions):
            self._remember(outcome)
            yield from self._telling(outcome, visit)
        return said, outcome

    def deciding_later(
        self,
        plan: Plan,
        steps: Sequence[Step],
        visit: Visit,
        subject: Callable[[Declaration], str],
        taken: Collection[str],
        buckets: Buckets,
    ) -> Steps[Outcome]:
        """What some steps of `plan` say once the body has been read; `taken` are the names that are on the response already."""
        if self._tenant is not None:
            buckets = self._of_tenant(buckets, visit)
        charged = yield from charges_of(plan, steps, visit.request, visit, buckets, subject, taken)
        return (yield from self._admitting(charged, visit, False))

    def known(self, plan: Plan, subject: str, now: float) -> tuple[Charge, Denial] | None:
        """The known offence of `subject`, for plans that ask the request nothing; None when the store has to be asked."""
        named = self._link.named
        if plan.fixed is None or named is None or self._tenant is not None or self.mode != "enforce":
            return None
        return self.denied.find(plan.prepare(subject, named).charges, now)

    def count(self, decisions: Sequence[Decision]) -> None:
        """Count decisions that were made elsewhere."""
        self._link.meter.decided(decisions)

    def charge_failure(self, visit: Visit) -> None:
        """Charge a 401 or 403 to its address, without waiting."""
        buckets = self._link.named
        if buckets is None:
            return
        if self._tenant is not None:
            buckets = self._of_tenant(buckets, visit)
        self.settlement.later([self._failures.prepare(visit.client.subject, buckets).call])

    def taking(self, charged: Sequence[Charge]) -> Flow[Outcome]:
        """Charge, or refuse without charging; a store failure is decided by each policy. Mode `off` charges nothing."""
        if self.mode == "off":
            return Outcome(charged, tuple([flows.untouched(charge) for charge in charged]))
        outcome = yield from flows.admit(charged, self._terms())
        self._link.meter.decided(outcome.decisions)
        return outcome

    def peeking(self, charged: Sequence[Charge]) -> Flow[tuple[Decision, ...]]:
        """What `taking` would decide. Raises: StoreError."""
        return (yield from flows.peek(charged, self._terms())).decisions

    def resetting(self, charged: Sequence[Charge]) -> Flow[int]:
        """Forget buckets, return how many there were; every process hears of it within a second. Raises: StoreError."""
        found = yield from flows.reset(charged, self._link.split)
        yield from flows.epoch(self._namespace, add=1)
        self.denied.known.clear()
        return found

    def _charging(self, plan: Plan, visit: Visit, buckets: Buckets) -> Steps[Outcome]:
        charged = yield from charges(plan, visit.request, visit, buckets)
        return (yield from self._admitting(charged, visit, bool(plan.later)))

    def _admitting(self, charged: Sequence[Charge], visit: Visit, loose: bool, prepared: Call | None = None) -> Steps[Outcome]:
        if not charged:
            return NOTHING
        outcome = self._denied(charged) if self.denied.known and self.mode == "enforce" else None
        if outcome is None:
            terms = self._terms(loose)
            call = prepared if prepared is not None and not terms.observe else flows.call("admit", charged, terms)
            if self._link.in_memory:
                outcome = flows.outcome(charged, self._link.memory.call(call), terms)
            elif terms.split:
                outcome = yield from flows.admit(charged, terms)
            else:  # what `admit` does, without a frame of its own for each request
                try:
                    reply = yield call
                except StoreError as error:
                    outcome = yield from flows.without_store(charged, terms, isinstance(error, StoreFull))
                else:
                    outcome = flows.outcome(charged, reply, terms)
            if outcome.receipts:
                self.settlement.hold(outcome.receipts)
        self._link.meter.decided(outcome.decisions)
        for decision in outcome.decisions:
            if not decision.allowed:
                self._remember(outcome)
                yield from self._telling(outcome, visit)
                break
        return outcome

    def _telling(self, outcome: Outcome, visit: Visit) -> Steps[None]:
        """Call `on_breach` of the policies that refuse."""
        for charge, decision in zip(outcome.charges, outcome.decisions, strict=True):
            if not decision.allowed and charge.policy.on_breach is not None:
                told = charge.policy.on_breach(visit.request, decision)
                if isawaitable(told):
                    yield told

    def _denied(self, charged: Sequence[Charge]) -> Outcome | None:
        now = monotonic()
        found = self.denied.find(charged, now)
        return None if found is None else Outcome((found[0],), (aged(found[1], found[0], now, self.ids.next()),))

    def _remember(self, outcome: Outcome) -> None:
        if not self._link.in_memory and self.mode == "enforce":
            self.denied.note(outcome.charges, outcome.decisions, monotonic())
            if self.denied.known and not self._hearing:
                self._hearing = True
                self._link.every(POLL, self._hear)

    async def _hear(self) -> None:
        """Ask for the epoch while anything is remembered that a reset would change."""
        if self.denied.known:
            with suppress(StoreError):
                self.denied.hear(await self._link.drive(flows.epoch(self._namespace)), monotonic())

    def _of_tenant(self, buckets: Buckets, visit: Visit) -> Buckets:
        return buckets.under(str(self._tenant(visit.request))) if self._tenant is not None else buckets

    def _terms(self, loose: bool = False) -> Terms:
        link = self._link
        terms: Terms = _new(Terms, (self.ids.next(), link.workers, self.mode == "observe", loose, link.split))
        return terms


class Ids:
    """Decision ids: unique over processes, cheap to make. A forked child starts a series of its own."""

    def __init__(self) -> None:
        self._count = count(1)
        self._restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        self._prefix = secrets.token_hex(6)

    def next(self) -> str:
        """A new id."""
        return f"{self._prefix}-{next(self._count):x}"


async def drive(generator: Any) -> Any:
    """Run a generator that yields awaitables, and return its result."""
    try:
        value = generator.send(None)
        while True:
            value = generator.send(await value)
    except StopIteration as stop:
        return stop.value
