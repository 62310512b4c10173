"""Sessions against an oracle: the state machine in plain Python, with clock steps, lost responses, replays and revocations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lockwatch.flow import Flow, run
from lockwatch.stores.memory import MemoryStore
from lockwatch.tokens.outcomes import Grant, Outcome, Reason
from lockwatch.tokens.policy import SessionPolicy
from tests.contract.bench import make_store
from tests.tokens.desk import SECOND, Clock, Clocked, T, make_sessions

IDLE, ABSOLUTE, GRACE, TOMBSTONE, MOST, REPLAYS = 1000 * SECOND, 3000 * SECOND, 10 * SECOND, 500 * SECOND, 3, 4
POLICY: Final = SessionPolicy(idle=1000, absolute=3000, grace=10, tombstone=500, max_sessions=MOST, max_replays=REPLAYS)
SUBJECTS: Final = ("user:1", "user:2")
EXAMPLES: Final = itertools.count()
_STEPS: Final = st.sampled_from(
    [0, 1, SECOND, GRACE - 1, GRACE, GRACE + 1, 100 * SECOND, IDLE - 1, IDLE, -1, -SECOND, -20 * SECOND]
)


@dataclass
class Family:
    """A session as the oracle sees it: every token it ever had, in order; the last one is the current one."""

    id: str
    subject: str
    chain: list[str]
    created: int
    rotated: int
    until: int
    replays: int = 0
    ended: Reason | None = None
    forgotten: int = 0

    def end(self, why: Reason, now: int) -> None:
        self.ended, self.forgotten = why, min(self.until, now + TOMBSTONE)

    def lives(self, now: int) -> bool:
        return self.ended is None and now < self.until


@dataclass
class Oracle:
    """What ought to happen."""

    families: list[Family] = field(default_factory=list)

    def living(self, subject: str, now: int) -> list[Family]:
        """The sessions that live, longest unused first."""
        found = [f for f in self.families if f.subject == subject and f.lives(now)]
        return sorted(found, key=lambda f: (f.rotated, f.id[16:]))

    def login(self, family: Family) -> list[str]:
        """A session begins; which ones make room for it."""
        living = self.living(family.subject, family.created)
        evicted = living[: max(0, len(living) - MOST + 1)]
        for old in evicted:
            old.end(Reason.EVICTED, family.created)
        self.families.append(family)
        return [old.id for old in evicted]

    def over(self, family: Family, now: int) -> set[Outcome]:
        """What is said of a session that is over; it is forgotten in time, or when the subject has too many of them."""
        if family.ended is None:
            return {Outcome.EXPIRED, Outcome.UNKNOWN}
        many = sum(f.ended is not None and f.subject == family.subject for f in self.families) > MOST
        return {Outcome.REVOKED, Outcome.UNKNOWN} if many or family.forgotten <= now else {Outcome.REVOKED}

    def present(self, family: Family, token: str, now: int) -> tuple[set[Outcome], str | None]:
        """What may come of it, and which token is handed out: None is a new one."""
        if not family.lives(now):
            return self.over(family, now), ""
        behind = len(family.chain) - 1 - family.chain.index(token)
        graceful = now - family.rotated < GRACE
        if behind == 0:
            if len(family.chain) > 1 and graceful:
                return {Outcome.FRESH}, token
            family.rotated, family.replays, family.until = now, 0, min(family.created + ABSOLUTE, now + IDLE)
            return {Outcome.ROTATED}, None
        if behind == 1 and graceful:
            if family.replays >= REPLAYS:
                return {Outcome.THROTTLED}, ""
            family.replays += 1
            return {Outcome.REPLAY}, family.chain[-1]
        family.end(Reason.REUSE_RECENT if behind == 1 else Reason.REUSE_STALE, now)
        return {Outcome.REUSE}, ""


class Machine(RuleBasedStateMachine):
    """Everything that can be done to sessions, in any order."""

    def __init__(self, store: Any) -> None:
        super().__init__()
        self.clock = Clock()
        self.store, self.local = Clocked(store, self.clock), MemoryStore()
        self.sessions = make_sessions(POLICY, namespace=f"example{next(EXAMPLES)}")
        self.oracle = Oracle()
        self.drawn = itertools.count()

    def random(self) -> bytes:
        """Random bytes, the same in every run."""
        return blake2b(b"%d" % next(self.drawn)).digest()

    def do(self, flow: Flow[T]) -> T:
        return run(flow, self.store, self.local)

    def pick(self, data: st.DataObject) -> Family:
        return data.draw(st.sampled_from(self.oracle.families), "family")

    @rule(subject=st.sampled_from(SUBJECTS))
    def login(self, subject: str) -> None:
        made = self.do(self.sessions.issue(Grant(subject), self.clock.now, self.random()))
        now = self.clock.us
        family = Family(made.session, subject, [made.refresh_token], now, now, now + IDLE)
        assert set(made.evicted) == set(self.oracle.login(family))

    @precondition(lambda self: self.oracle.families)
    @rule(data=st.data(), behind=st.sampled_from([0, 0, 0, 1, 1, 2, 5]))
    def refresh(self, data: st.DataObject, behind: int) -> None:
        family = self.pick(data)
        token = family.chain[max(0, len(family.chain) - 1 - behind)]
        outcomes, expected = self.oracle.present(family, token, self.clock.us)
        found = self.do(self.sessions.rotate(token, self.clock.now, self.random()))
        assert found.outcome in outcomes
        if expected is None:
            assert found.refresh_token not in family.chain
            family.chain.append(found.refresh_token)
            assert found.generation == len(family.chain) - 1
        else:
            assert found.refresh_token == expected
        if found.outcome in (Outcome.REUSE, Outcome.REVOKED):
            assert found.reason is family.ended
        if found.outcome.renewed:
            assert found.grant == Grant(family.subject)

    @precondition(lambda self: self.oracle.families)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        family = self.pick(data)
        lived = family.lives(self.clock.us)
        if lived:
            family.end(Reason.REVOKED, self.clock.us)
        assert self.do(self.sessions.revoke(family.id, self.clock.now)).sessions == ((family.id,) if lived else ())

    @rule(subject=st.sampled_from(SUBJECTS))
    def revoke_subject(self, subject: str) -> None:
        living = self.oracle.living(subject, self.clock.us)
        for family in living:
            family.end(Reason.SUBJECT, self.clock.us)
        assert set(self.do(self.sessions.revoke_subject(subject, self.clock.now)).sessions) == {f.id for f in living}

    @rule(step=_STEPS)
    def tick(self, step: int) -> None:
        now = self.clock.us + step
        # What ended and was swept away does not begin again when the clock steps back across its end.
        if not any(now < end <= self.clock.us for f in self.oracle.families for end in (f.until, f.forgotten)):
            self.clock.us = now

    @precondition(lambda self: self.oracle.families)
    @rule(data=st.data())
    def check(self, data: st.DataObject) -> None:
        family = self.pick(data)
        found = self.do(self.sessions.standing(family.id, "j" * 32))
        assert found.live == family.lives(self.clock.us)
        if found.outcome is Outcome.REVOKED:
            assert found.reason is family.ended

    @invariant()
    def the_list_is_what_lives(self) -> None:
        for subject in SUBJECTS:
            listed = self.do(self.sessions.listed(subject, self.clock.now))
            assert [s.id for s in listed] == [f.id for f in self.oracle.living(subject, self.clock.us)]


@pytest.mark.parametrize(("kind", "examples"), [("memory", 150), ("fake", 15), ("redis", 80)])
def test_whatever_is_done_in_whatever_order_is_what_the_oracle_says(redis_server: str, kind: str, examples: int) -> None:
    store: Any = make_store(kind, redis_server)
    checked = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    run_state_machine_as_test(lambda: Machine(store), settings=checked)
    if kind != "memory":
        store.close()
