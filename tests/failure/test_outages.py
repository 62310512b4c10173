"""What a request gets while the store fails, and that everything returns by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.failure.apps import PATHS, TICK, ask, asked_until, clock, heartbeat, make
from tests.failure.faults import ANSWERING, FAULTS, PASSWORD, Fault

DEADLINE = 0.4
"""More than by default, for machines that are busy with other tests."""
SLACK = 1.0
"""What a busy machine may add, and far less than a client without a deadline waits."""
QUOTA = 6
DURING = {"/allow": [200] * 5, "/deny": [503] * 5, "/local": [200, 200, 429, 429, 429]}
"""Five requests of one client while nothing answers; three processes share the quota of six."""
WHILE_FULL = DURING | {"/allow": DURING["/local"]}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Fault]]:
    made = FAULTS[request.param](monkeypatch)
    yield request.param, made
    made.close()


async def test_each_policy_decides_while_the_store_fails_and_the_store_again_when_it_is_back(
    fault: tuple[str, Fault], caplog: pytest.LogCaptureFixture
) -> None:
    name, broken = fault
    app, lockwatch = make(broken.url, QUOTA, 2.0 if name in ANSWERING else DEADLINE)
    assert await ask(app, "/allow", "192.0.2.200") == 200  # connects
    assert await asked_until(app, lambda: lockwatch.health().status == "ok")
    for path in PATHS:
        assert await ask(app, path, "192.0.2.1") == 200
    assert lockwatch.health().status == "ok"
    caplog.clear()

    broken.begin()
    expected = WHILE_FULL if name == "full" else DURING
    async with heartbeat() as stood_still:
        for path in PATHS:
            for wanted in expected[path]:
                began = clock()
                assert await ask(app, path, "192.0.2.1") == wanted, (path, lockwatch.health())
                assert clock() - began < DEADLINE + TICK + SLACK + stood_still()
    health = lockwatch.health()
    assert (health.status, health.store_ok) == ("degraded", False)
    assert health.store_error
    assert health.store == lockwatch.engine.store_name
    opens = await asked_until(app, lambda: lockwatch.health().breaker != "closed", 0.2 if name in ANSWERING else 60)
    assert opens is (name not in ANSWERING)

    broken.end()
    assert await asked_until(app, lambda: lockwatch.health().status == "ok"), lockwatch.health()
    assert lockwatch.health().breaker == "closed"
    for path in PATHS:
        # One was charged before the outage, unless the server forgot; what it received and never answered may count too.
        found = [await ask(app, path, "192.0.2.1") for _ in range(QUOTA)]
        assert found[0] == 200
        assert sorted(found) == found
        assert [await ask(app, path, "192.0.2.2") for _ in range(QUOTA + 1)] == [200] * QUOTA + [429]
    said = [record for record in caplog.records if health.store in record.message]
    assert [record.levelname for record in said] == ["ERROR", "WARNING"]
    assert PASSWORD not in f"{caplog.text} {health}"
    await lockwatch.aclose()
