"""What is asked of the store about bans. What a ban says is sealed there: the store can tell nobody who is banned. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2s
from typing import Final, NamedTuple

from lockwatch.anomaly.ban import Ban
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.anomaly.sealing import Box
from lockwatch.flow import Call, Flow, words_of
from lockwatch.limits.buckets import SCHEMA, Buckets
from lockwatch.tokens.sealing import encoded

RULE, SET, LIFT = 0, 1, 2
"""How a ban is made: by a rule (the next one is longer), for as long as somebody says, or ended."""
MEMORY_US: Final = 30 * 86_400 * 1_000_000
"""For how long a ban that is over makes the next one longer."""
BATCH: Final = 500
_LONGEST: Final = 200


class Told(NamedTuple):
    """What the store said about a change: how long the ban holds, which ban of its subject it is, whether anything changed."""

    seconds: float
    times: int
    changed: bool


def keys_of_bans(namespace: str) -> tuple[str, ...]:
    """Where the bans of a namespace are kept; in one slot of a cluster."""
    return tuple([f"{namespace}:{SCHEMA}:{{bans}}:{part}" for part in ("records", "order", "due")])


class Ledger:
    """Names, seals and reads bans.

    Args:
        buckets: names of the namespace.
        namespace: the namespace.
        settings: durations.
    """

    def __init__(self, buckets: Buckets, namespace: str, settings: AnomalyConfig) -> None:
        key = buckets.derived("bans")
        self._box, self._key = Box(key, "ban"), key
        self._settings = settings
        self.keys = keys_of_bans(namespace)

    def id(self, subject: str) -> str:
        """What a subject is called in the store and towards clients: 16 characters."""
        return encoded(blake2s(subject.encode("utf-8", "surrogatepass"), key=self._key, digest_size=12).digest())

    def change(self, ban: Ban, how: int, nonce: bytes, mark: int) -> Flow[Told]:
        """Make, lengthen or lift a ban. `nonce` is 12 random bytes, `mark` a random number below 2^53."""
        settings = self._settings
        numbers = (
            0,
            how,
            round(ban.seconds * 1e6),
            round(settings.ban_growth * 100),
            round(settings.ban_max_seconds * 1e6),
            MEMORY_US,
            settings.max_bans,
            mark,
        )
        left, times, changed = yield Call("ban", self.keys, numbers, words=(self.id(ban.subject), self._seal(ban, nonce)))
        return Told(left / 1e6, times, changed == 1)

    def changes(self, mark: int, version: int) -> Flow[tuple[int, int, bool, list[Ban]]]:
        """What came after `version`: the mark and the version to go on from, whether there is more, and the bans.

        One that is over has no seconds. What another secret sealed is left out.
        """
        reply = yield Call("bans", self.keys, (0, mark, version, BATCH))
        words = words_of(reply)
        found = [self._open(words[i], reply[i * 3 + 3 : i * 3 + 6]) for i in range(len(words))]
        return reply[0], reply[1], reply[2] == 1, [ban for ban in found if ban is not None]

    def _seal(self, ban: Ban, nonce: bytes) -> str:
        return self._box.close([ban.subject, ban.reason[:_LONGEST], ban.by[:_LONGEST]], nonce)

    def _open(self, word: str, numbers: Sequence[int]) -> Ban | None:
        said = self._box.open(word)
        if said is None:
            return None
        subject, reason, by = said
        left, age, times = numbers
        return Ban(subject, left / 1e6, times, reason, by, age / 1e6, self.id(subject))
