"""What operators ask, and limits by hand, where the buckets of a subject are on one server and those of another on the next."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from click.testing import CliRunner
from fastapi.testclient import TestClient

from lockwatch import RateLimitConfig, RateLimiter
from lockwatch.cli import main
from tests.operators.shop import create
from tests.topology.sites import Site

PEER = "203.0.113.7"
SUBJECT = f"ip:{PEER}"
SETTINGS = RateLimitConfig(3, 60, secret_key="0123456789abcdef", store_timeout=5)


@pytest.mark.parametrize("decoded", [False, True])
async def test_a_cluster_client_of_either_colour_lends_its_address(cluster: Site, decoded: bool) -> None:
    async_client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, decode_responses=decoded)
    sync_client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, decode_responses=decoded)
    limiters = [RateLimiter(client, SETTINGS) for client in (async_client, sync_client)]
    for name in ("alice", "bob", "carol", "dave"):
        answers = [(await limiter.check(name))[0] for limiter in limiters]
        answers += [limiter.check_sync(name)[0] for limiter in limiters]
        assert answers == [True, True, True, False]
        assert await limiters[0].reset(name)
        assert not limiters[1].reset_sync(name)
    for limiter in limiters:
        await limiter.aclose()
    await async_client.aclose()
    sync_client.close()


def test_the_commands_reach_every_server(cluster: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "on_a_cluster.py").write_text(f"from tests.operators.shop import create\napp = create(redis_url={cluster.url!r})\n")
    options = ("--app", "on_a_cluster:app", "--subject", SUBJECT, "--subject", "key:-", "--json")

    def run(command: str, *more: str) -> Any:
        result = CliRunner().invoke(main, ["limits", command, *options, *more], input="s3cret\n")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    with TestClient(create(redis_url=cluster.url), client=(PEER, 1)) as http:
        for _ in range(2):
            assert http.get("/keyed", headers={"X-API-Key": "s3cret"}).status_code == 200
        used = {bucket["policy"]: bucket["used"] for bucket in run("show")["buckets"]}
        assert used == {"100-per-minute": 2, "app": 2, "keyed": 2, "keyed-by-address": 2}
        assert http.portal is not None
        lockwatch = http.app.state.lockwatch  # type: ignore[attr-defined]
        seen = http.portal.call(lockwatch.limits_of, [SUBJECT, "key:s3cret"])
        assert {usage.policy: usage.used for usage in seen if usage.used} == used
        told = run("explain", "--route", "GET /keyed")
        assert [(policy["policy"], policy["allowed"]) for policy in told["policies"]] == [
            ("100-per-minute", True), ("app", True), ("keyed", True), ("keyed-by-address", True),
        ]  # fmt: skip
        assert run("reset", "--yes")["reset"] == 4
        assert run("show")["buckets"] == []
