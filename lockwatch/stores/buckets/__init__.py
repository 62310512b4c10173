"""The algorithms of the memory store, one class each, under the numbers that scripts know them by.

Each is the twin of a file in `lua/`: the same facts, the same arithmetic, the same replies.
"""

from __future__ import annotations

from typing import Final

from lockwatch.stores.buckets.bucket import MOST, NEVER, Bucket, Verdict
from lockwatch.stores.buckets.fixed_window import FixedWindow
from lockwatch.stores.buckets.gcra import Gcra
from lockwatch.stores.buckets.leases import Leases
from lockwatch.stores.buckets.sliding_counter import SlidingCounter
from lockwatch.stores.buckets.sorted_set import SortedSet
from lockwatch.stores.buckets.window import Window

KINDS: Final[tuple[type[Bucket], ...]] = (Window, SortedSet, SlidingCounter, Gcra, FixedWindow, Leases)
"""By algorithm number."""
GCRA: Final = 3
CONCURRENT: Final = 5

__all__ = ["CONCURRENT", "GCRA", "KINDS", "MOST", "NEVER", "Bucket", "SortedSet", "Verdict", "Window"]
