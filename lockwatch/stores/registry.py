"""What the processes of a namespace share besides buckets; in the memory store there is one process."""

from __future__ import annotations

from lockwatch.flow import Reply


class Registry:
    """A secret, the workers that live, and an epoch, each under the key of its script."""

    def __init__(self) -> None:
        self._secrets: dict[str, Reply] = {}
        self._workers: dict[str, dict[int, int]] = {}
        self._epochs: dict[str, int] = {}

    def secret(self, key: str, offered: tuple[int, ...]) -> Reply:
        """The numbers that hold: the first that were offered."""
        return self._secrets.setdefault(key, offered)

    def workers(self, key: str, now: int, worker: int, lifetime: int) -> int:
        """Note that a worker lives; how many do that were not silent for `lifetime`."""
        known = self._workers.get(key, {}) | {worker: now}
        self._workers[key] = {number: seen for number, seen in known.items() if now - lifetime < seen <= now + lifetime}
        return len(self._workers[key])

    def epoch(self, key: str, more: int) -> int:
        """Add to a counter; 0 only reads."""
        if more:
            self._epochs[key] = self._epochs.get(key, 0) + more
        return self._epochs.get(key, 0)
