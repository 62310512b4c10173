"""The judge of keys that would stay for good: it finds them, and lets those with an end pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests import servers
from tests.endless import NOT_OURS, Verdict, endless
from tests.test_docs import ROOT


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


def test_a_whole_run_on_workers_fails_and_names_the_key(redis_server: str, tmp_path: Path) -> None:
    other = redis_server.rsplit("/", 1)[0] + "/1"
    (tmp_path / "conftest.py").write_text("from tests.conftest import endless_keys, redis_server, redis_url\n")
    (tmp_path / "test_it.py").write_text(
        "import redis\n"
        "def test_leaves(redis_server):\n    redis.Redis.from_url(redis_server).set('lockwatch:1:sw:{a}:stays', 1)\n"
        "def test_uses_no_server():\n    pass\n"
    )
    done = run(tmp_path, "-n", "1", url=other)
    with redis.Redis.from_url(other) as client:
        client.flushdb()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "lockwatch:1:sw:{a}:stays  (seen after test_it.py::test_leaves)" in done.stdout
    assert "2 passed, 1 error" in done.stdout


def run(place: Path, *options: str, url: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), servers.REDIS_ENV: url}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(place), *options, str(place)]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
