"""Two application servers, each a process of its own, and one request left."""

from __future__ import annotations

import pytest

from tests.stress import servers


@pytest.mark.parametrize("where", ["redis_server", "cluster", "sentinels"])
def test_two_servers_never_both_get_the_last_request_and_one_always_does(request: pytest.FixtureRequest, where: str) -> None:
    site = request.getfixturevalue(where)
    outcome = servers.play(site if isinstance(site, str) else site.url, 200)
    assert (outcome.rounds, outcome.both, outcome.neither) == (200, 0, 0)


def test_a_lock_that_lapses_lets_both_in(redis_server: str) -> None:
    """Why there is no lock around a counter here; and that the count above can fail."""
    outcome = servers.play(redis_server, 201, locked=True, pause=2 * servers.LIFE)
    assert outcome.both
