"""Rules about one user: guessing at an account, from one network or from many."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.pairs import Sight
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.signals import Fading, Table

_REMEMBERED: Final = 16
_SHORT: Final = 4
_LEAST: Final = 6
"""Different networks, whatever their weight."""
_GUESSED: Final = 0.1
"""Weight of a failure with software the user is known by."""
_ROAMING: Final = 0.2
"""Weight of a new network with software the user is known by: a phone that travels with a stale password."""
_RELIEF: Final = 0.2
"""What a success from the same network leaves of the failures."""


_SLIGHT: Final = 2.0
"""Failures, or networks, that a state is not worth keeping for."""


class Account:
    """What is known of one user: how hard it is tried, from how many networks new to it, and the last of them."""

    __slots__ = ("failures", "networks", "recent")

    def __init__(self) -> None:
        self.failures = Fading()
        self.networks = Fading()
        self.recent = b""

    def matters(self) -> bool:
        """Whether more is known than a few typos."""
        return max(self.failures.value, self.networks.value) >= _SLIGHT

    def dump(self) -> list[Any]:
        """Its state."""
        return [self.failures.value, self.failures.at_us, self.networks.value, self.networks.at_us, self.recent]


def account_of(state: list[Any]) -> Account:
    """The account that `Account.dump` gave."""
    account = Account()
    account.failures, account.networks, account.recent = Fading(*state[:2]), Fading(*state[2:4]), state[4]
    return account


class Accounts:
    """The table of users, and its rules. A user is in it while somebody fails from a network that is new for them.

    Args:
        settings: rules and bounds.
        cases: where signs go.
    """

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self._rules = settings.rules
        self._cases = cases
        self.table: Table[Account] = Table(settings.accounts, Account)

    def login(self, login: Login, sight: Sight) -> None:
        """Take a login."""
        if login.user == NO_KEY:
            return
        if login.successes and (account := self.table.get(login.user)) and login.network[:_SHORT] in _split(account.recent):
            account.failures.value *= _RELIEF
        if login.failures and not sight.familiar:
            self._fail(self.table.touch(login.user), login, sight)

    def _fail(self, account: Account, login: Login, sight: Sight) -> None:
        guessed, spread = self._rules["failures.account"], self._rules["spread.account"]
        weight = _GUESSED if sight.device else 1.0
        failures = account.failures.add(weight * login.failures, login.at_us, guessed.window)
        networks = account.networks.read(login.at_us, spread.window)
        recent = _split(account.recent)
        if login.network[:_SHORT] not in recent:
            networks = account.networks.add(_ROAMING if sight.device else 1.0, login.at_us, spread.window)
            account.recent = b"".join([*recent, login.network[:_SHORT]][-_REMEMBERED:])
        seen = len(account.recent) // _SHORT
        if networks >= spread.threshold and seen >= _LEAST:
            self._cases.blame(spread.name, login, Evidence("networks new for the user", networks, 0, networks))
        elif failures >= guessed.threshold and not self._cases.holder(login.address):
            self._cases.blame(guessed.name, login, Evidence("failed logins", failures, 0, failures))

    def dump(self) -> list[Any]:
        """Its state."""
        return self.table.dump(Account.dump, Account.matters)

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self.table.load(state, account_of)


def _split(recent: bytes) -> list[bytes]:
    return [recent[i : i + _SHORT] for i in range(0, len(recent), _SHORT)]
