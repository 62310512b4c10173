"""Rule about one network: many addresses of a rented range, each of which does little."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.pairs import Sight
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.signals import SECOND, Table
from lockwatch.anomaly.sketch import Registers

_LEAST: Final = 4
"""Addresses behind the failures: fewer are a matter for the rules about addresses."""
_SLIGHT: Final = 3


class Network:
    """What is known of a /24 or /48: who logged in from there, who failed today, from how many addresses."""

    __slots__ = ("addresses", "failing", "people", "since_us")

    def __init__(self) -> None:
        self.people: Registers | None = None
        self.failing: Registers | None = None
        self.addresses: Registers | None = None
        self.since_us = 0

    def matters(self) -> bool:
        """Whether more is known than that a household is there."""
        return any(len(each) >= _SLIGHT for each in (self.people, self.failing) if each is not None)

    def dump(self) -> list[Any]:
        """Its state."""
        return [*[each and each.dump() for each in (self.people, self.failing, self.addresses)], self.since_us]


def network_of(state: list[Any]) -> Network:
    """The network that `Network.dump` gave."""
    network = Network()
    network.people, network.failing, network.addresses = [raw and Registers(raw=raw) for raw in state[:3]]
    network.since_us = state[3]
    return network


class Networks:
    """The table of networks, and its rule.

    Args:
        settings: rules and bounds.
        cases: where signs go.
    """

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self._rule = settings.rules["stuffing.network"]
        self._cases = cases
        self.table: Table[Network] = Table(settings.networks, Network)

    def people(self, network: bytes) -> int:
        """How many users logged in from a network, about."""
        found = self.table.get(network)
        return 0 if found is None or found.people is None else len(found.people)

    def login(self, login: Login, sight: Sight, *, outage: bool) -> None:
        """Take a login. In an outage nothing is counted against anybody."""
        if login.network == NO_KEY:
            return
        network = self.table.touch(login.network)
        if login.successes and self._cases.holder(login.address) is None:
            network.people = network.people or Registers(32)
            network.people.add(login.user)
        elif login.failures and not (outage or sight.familiar or sight.device):
            self._fail(network, login)

    def _fail(self, network: Network, login: Login) -> None:
        if login.at_us - network.since_us >= self._rule.window * SECOND:
            network.since_us, network.failing, network.addresses = login.at_us, None, None
        network.failing, network.addresses = network.failing or Registers(32), network.addresses or Registers(16)
        network.failing.add(login.user)
        network.addresses.add(login.address)
        failing, people = len(network.failing), 0 if network.people is None else len(network.people)
        if failing >= self._rule.threshold and failing > 3 * people and len(network.addresses) >= _LEAST:
            found = Evidence("different failing users of one network", failing, people, failing)
            self._cases.blame(self._rule.name, login, found)

    def dump(self) -> list[Any]:
        """Its state."""
        return self.table.dump(Network.dump, Network.matters)

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self.table.load(state, network_of)
