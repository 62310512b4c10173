"""An application on a cluster: limits that count different subjects, and a node that is lost."""

from __future__ import annotations

import time

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from lockwatch import LockWatch, RateLimit
from tests.topology import sites
from tests.topology.sites import Site

SECRET = "a-secret-of-32-characters-or-more"


def one(request: Request) -> str:
    return request.headers["one"]


def other(request: Request) -> str:
    return request.headers["other"]


def make(url: str) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=url, secret_key=SECRET, store_timeout=10.0)

    @app.get("/", dependencies=[Depends(RateLimit("one=5/minute", key=one)), Depends(RateLimit("other=3/minute", key=other))])
    async def root() -> str:
        return "found"

    return app, lockwatch


def test_limits_on_different_subjects_are_all_charged_or_none(cluster: Site) -> None:
    app, lockwatch = make(cluster.url)
    with TestClient(app) as http:
        for i in range(10):  # of which some share a node, some a slot, and most none
            said = [http.get("/", headers={"one": f"one-{i}", "other": f"other-{i}"}) for _ in range(4)]
            assert [answer.status_code for answer in said] == [200, 200, 200, 429]
            assert said[-1].json()["violated-policies"] == ["other"]
            assert '"one";r=1;' in http.get("/", headers={"one": f"one-{i}", "other": f"new-{i}"}).headers["ratelimit"]
    assert lockwatch.health().store_ok


def test_an_application_knows_before_it_asks_that_its_buckets_are_split(cluster: Site, sentinels: Site) -> None:
    assert make(cluster.url)[1].engine.link.split
    assert not make(sentinels.url)[1].engine.link.split


async def test_a_node_that_hangs_costs_its_own_subjects_no_waiting_and_the_others_nothing() -> None:
    with sites.running(sites.start_cluster()) as site:
        for node in site.nodes:
            sites.ask(node.port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        lockwatch = LockWatch(redis_url=site.url, secret_key=SECRET, store_timeout=1.0)
        subjects = [f"subject-{i}" for i in range(24)]
        for subject in subjects:
            assert not (await lockwatch.take("calls", subject, "100/minute")).degraded
        rounds = []
        with sites.halted(site.nodes[0]):
            for _ in range(3):
                began = time.monotonic()
                rounds.append(sum([(await lockwatch.take("calls", subject, "100/minute")).degraded for subject in subjects]))
                took = time.monotonic() - began
        assert len(set(rounds)) == 1, "who is degraded changes"
        assert 0 < rounds[0] < len(subjects)
        assert took < 1.0 * rounds[0]
        assert not lockwatch.health().store_ok
        await lockwatch.aclose()
