"""Whole histories of every algorithm on a cluster: it answers as the memory does."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings

from lockwatch.flow import Call
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import PATIENT
from tests.contract.histories import History, Step
from tests.contract.test_histories import EVERY, HISTORIES, QUIET, compared, tell
from tests.topology.sites import Site

turns = count()


@EVERY
@settings(max_examples=12, **QUIET)
@given(HISTORIES)
def test_memory_and_cluster_agree(cluster: Site, algorithm: int, found: list[Step]) -> None:
    history = History(algorithm)
    history.play(found)
    subject = f"{{subject-{next(turns)}}}"  # another slot, perhaps of another node, for each history
    store = RedisStore(address_of(cluster.url), PATIENT)
    replies = [compared(call, store.call(placed(call, subject))) for call in history.calls]
    store.close()
    tell(history, replies)
    assert replies == history.replies


def placed(call: Call, subject: str) -> Call:
    """The same call about the buckets of one subject."""
    return call._replace(keys=tuple([f"{subject}:{key}" for key in call.keys]))
