"""Keys that would stay for good, as the server sees them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any, Final

import redis

NOT_OURS: Final = {
    "stress:ready": "tests.stress counts its processes in it",
    "theirs:*": "a test wrote it to be in the way",
}
"""Keys that lockwatch did not write, and why they have no end."""


def endless(url: str) -> list[str]:
    """The keys of a database that have no time to live, without those that are not ours."""
    with redis.Redis.from_url(url) as client:
        return [key for key in _staying(client) if not any(fnmatch.fnmatchcase(key, pattern) for pattern in NOT_OURS)]


def _staying(client: Any) -> Iterator[str]:
    cursor = -1
    while cursor:
        cursor, keys = client.scan(max(cursor, 0), count=1000)
        with client.pipeline(transaction=False) as together:
            for key in keys:
                together.pttl(key)
            lives = together.execute()
        yield from (key.decode("utf-8", "backslashreplace") for key, life in zip(keys, lives, strict=True) if life == -1)


class Verdict:
    """What a test process found, kept until its end."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def look(self, url: str, test: str) -> None:
        """Look for endless keys after `test`."""
        for key in endless(url):
            self.found.setdefault(key, test)

    def check(self) -> None:
        """Raises: AssertionError with the names of all keys, if there were any."""
        lines = [f"  {key}  (seen after {test})" for key, test in sorted(self.found.items())]
        assert not lines, "keys without a time to live:\n" + "\n".join(lines)
