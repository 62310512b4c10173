"""`lockwatch doctor` where the store is a cluster, or a master under Sentinel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lockwatch.cli import main
from tests.topology.sites import Site


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKWATCH_SECRET_KEY", "kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU")
    return tmp_path


def looked(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    monkeypatch.setenv("LOCKWATCH_REDIS_URL", url)
    told: dict[str, Any] = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    return told


def of_store(told: dict[str, Any]) -> str:
    return next(area["summary"] for area in told["areas"] if area["name"] == "store")


def test_every_node_that_the_url_of_a_cluster_names_is_looked_at(
    cluster: Site, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = looked(monkeypatch, cluster.url)
    assert [finding["code"] for finding in told["findings"] if finding["code"].startswith("store.")] == []
    nodes = cluster.url.partition("//")[2].count(",") + 1
    assert of_store(told).count("PING p50") == nodes


def test_a_node_alone_is_no_cluster(cluster: Site, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = looked(monkeypatch, f"redis://127.0.0.1:{cluster.nodes[0].port}/0")
    assert "store.cluster" in [finding["code"] for finding in told["findings"]]


def test_the_master_that_sentinels_name_is_looked_at(sentinels: Site, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = looked(monkeypatch, sentinels.url)
    assert [finding["code"] for finding in told["findings"] if finding["code"].startswith("store.")] == []
    assert f"127.0.0.1:{sentinels.nodes[0].port}" in of_store(told)
