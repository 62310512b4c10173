"""The judge of keys that would stay for good: it finds them, and lets those with an end pass."""

from __future__ import annotations

import pytest
import redis

from tests.endless import NOT_OURS, Verdict, endless


def test_a_key_without_an_end_fails_the_run(redis_server: str) -> None:
    verdict = Verdict()
    with redis.Redis.from_url(redis_server) as client:
        client.set("lockwatch:1:sw:{a}:ends", "x", px=60_000)
        verdict.look(redis_server, "an earlier test")
        verdict.check()
        client.set("lockwatch:1:sw:{a}:stays", "x")
        verdict.look(redis_server, "this test")
        client.delete("lockwatch:1:sw:{a}:stays")
    with pytest.raises(AssertionError, match=r"lockwatch:1:sw:\{a\}:stays  \(seen after this test\)$"):
        verdict.check()


def test_what_others_wrote_is_left_out_by_name(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as client:
        for pattern in NOT_OURS:
            client.set(pattern.replace("*", "x"), 1)
    assert endless(redis_server) == []
