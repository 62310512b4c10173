"""One receiver: what it gets next, one alert at a time, and what comes of it. It can hang without delaying another."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockwatch.alerts.channels import Endpoint
from lockwatch.alerts.circuit import PATIENCE, Circuit
from lockwatch.alerts.delivery import Courier
from lockwatch.alerts.keeping import Keeper
from lockwatch.alerts.outbox import Outbox
from lockwatch.alerts.record import DEAD, DELIVERED, WAITING, Delivery
from lockwatch.alerts.schedule import MAX_AGE, Answer, next_attempt

logger = logging.getLogger("lockwatch")
NEWS: Final = 86_400.0
"""Seconds for which it is complained about that alerts were given up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt, until it is written down."""

    box: Outbox
    delivery: Delivery
    state: str
    due_at: float
    note: str


class Lane:
    """The way to one receiver.

    Args:
        endpoint: the receiver.
        keeper: where alerts are kept.
        courier: sends them.
        clock: seconds since 1970.

    Attributes:
        circuit: how the receiver does.
        died: alerts that were given up, as long as that is news.
    """

    def __init__(self, endpoint: Endpoint, keeper: Keeper, courier: Courier, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.circuit = Circuit()
        self.died = 0
        self._died_at = 0.0
        self._keeper = keeper
        self._courier = courier
        self._clock = clock
        self._unwritten: dict[str, Outcome] = {}

    @property
    def complaint(self) -> str:
        """What is wrong with the receiver; empty when nothing is."""
        name, answer = self.endpoint.name, self.circuit.answer
        if self.circuit.gone:
            return f"{name} wants no alerts any more (410); take it out of the settings, or replay an alert to it"
        if self.circuit.failures >= PATIENCE and answer is not None:
            return f"alerts do not arrive at {name}: {answer.text}"
        if self.died and self._clock() - self._died_at < NEWS:
            return f"{self.died} alerts never arrived at {name}; see lockwatch alerts list"
        return ""

    def next(self) -> tuple[Outbox, Delivery] | None:
        """What to send now, if anything; outcomes that could not be written down before are, first."""
        self._write()
        now = self._clock()
        if self.circuit.gone:
            self._bury(now)
        if not self.circuit.ready(now):
            return None
        for box in self._keeper.boxes:
            try:
                if (found := box.due(self.endpoint.key, now, tuple(self._unwritten))) is not None:
                    return box, found
            except sqlite3.Error as error:
                self._keeper.fails(error)
        return None

    async def run(self) -> None:
        """Send one after the other for as long as something is due and arrives."""
        while (found := self.next()) is not None:
            box, delivery = found
            if self._clock() - delivery.since > MAX_AGE:
                self._note(Outcome(box, delivery, DEAD, self._clock(), f"too old; last: {delivery.note or 'not tried'}"))
                continue
            if delivery.body is None:
                self._note(Outcome(box, delivery, DEAD, self._clock(), "what it says is damaged"))
                continue
            answer = await self._courier.send(self.endpoint, delivery.alert, delivery.body)
            self._heard(box, delivery, answer)

    def _heard(self, box: Outbox, delivery: Delivery, answer: Answer) -> None:
        now, before = self._clock(), self.complaint
        self.circuit.heard(answer, now, random.random())  # noqa: S311 - jitter
        due = next_attempt(delivery.attempts + 1, answer, now, random.random())  # noqa: S311
        if answer.delivered:
            self._note(Outcome(box, delivery, DELIVERED, now, answer.text))
            self._hasten(now)
        else:
            self._note(Outcome(box, delivery, DEAD if due is None else WAITING, now if due is None else due, answer.text))
        if answer.gone:
            self._bury(now)
        self._tell(before)

    def _note(self, outcome: Outcome) -> None:
        self._buried(outcome.state == DEAD)
        self._unwritten[outcome.delivery.alert] = outcome
        self._write()

    def _write(self) -> None:
        """Write outcomes down; those that cannot be are remembered, so that nothing is sent twice for that."""
        for name, outcome in list(self._unwritten.items()):
            try:
                outcome.box.record(outcome.delivery, outcome.state, outcome.due_at, outcome.note)
            except sqlite3.Error as error:
                return self._keeper.fails(error)
            del self._unwritten[name]
        return None

    def _buried(self, count: int) -> None:
        now = self._clock()
        if count:
            self.died, self._died_at = (self.died if now - self._died_at < NEWS else 0) + count, now

    def _hasten(self, now: float) -> None:
        for box in self._keeper.boxes:
            try:
                box.hasten(self.endpoint.key, now)
            except sqlite3.Error as error:
                self._keeper.fails(error)

    def _bury(self, now: float) -> None:
        for box in self._keeper.boxes:
            try:
                self._buried(box.bury(self.endpoint.key, "its receiver answered 410", now))
            except sqlite3.Error as error:
                self._keeper.fails(error)

    def _tell(self, before: str) -> None:
        """Say in the log that the receiver begins to fail, or works again; once."""
        after = self.complaint
        if after and not before:
            logger.error("lockwatch: %s", after)
        elif before and not after:
            logger.warning("lockwatch: alerts arrive at %s again", self.endpoint.name)
