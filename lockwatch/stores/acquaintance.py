"""Networks that users logged in from, in this process's memory: `lua/acquaintance.lua` as methods under the same names.

Bounded: the user unseen for longest is forgotten first, and then looks like one who never logged in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from lockwatch.flow import Call, Reply


class Acquaintance:
    """The users of one process. Its caller sees to it that one thread at a time is in here.

    Args:
        clock: microseconds; monotonic.
        most: how many users are remembered.
    """

    def __init__(self, clock: Callable[[], int], most: int = 200_000) -> None:
        self._clock = clock
        self._most = most
        self._users: OrderedDict[str, dict[str, int]] = OrderedDict()
        self.scripts: dict[str, Callable[[Call], Reply]] = {"acquaint": self._acquaint, "acquainted": self._acquainted}

    def __len__(self) -> int:
        return len(self._users)

    def _acquaint(self, call: Call) -> Reply:
        now, lifetime, most = call.args
        now, key = now or self._clock(), call.keys[0]
        if key not in self._users and len(self._users) >= self._most:
            self._users.popitem(last=False)
        seen = self._users.get(key, {}) | {call.words[0]: now}
        known = sorted(((at, network) for network, at in seen.items() if at > now - lifetime), reverse=True)[:most]
        self._users[key] = {network: at for at, network in known}
        self._users.move_to_end(key)
        return (1,)

    def _acquainted(self, call: Call) -> Reply:
        now, lifetime = call.args
        seen = self._users.get(call.keys[0], {}).get(call.words[0])
        return (int(seen is not None and seen > (now or self._clock()) - lifetime),)
