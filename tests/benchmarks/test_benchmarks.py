"""The programs of the benchmarks, at tiny sizes: that they work from end to end, never how fast anything is."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import svg
from tests.benchmarks import allocations, curves, flame, pictures, records, scaling
from tests.benchmarks.__main__ import main
from tests.benchmarks.machine import ROOT, Cores
from tests.benchmarks.server import Place, Server
from tests.benchmarks.table import Report, Table
from tests.benchmarks.tally import Stages, staged
from tests.benchmarks.variants import Variant

COUNTED = Report(
    ("date: today",),
    (
        Table(
            "Requests per second of one route",
            ("variant", "requests/s", "of bare", "middle half"),
            (("bare FastAPI", "5,000", "1.00", "1.00 to 1.00"), ("lockwatch, <memory>", "4,000", "0.80", "0.75 to 0.85")),
        ),
    ),
)


def texts(picture: str) -> list[str]:
    """What is written in a picture. Raises: ParseError, where it is no XML."""
    return [text for element in ET.fromstring(picture).iter() if (text := element.text) and element.tag.endswith("text")]


def sample(curve: str, point: int, variant: str, turn: int = 0, **more: Any) -> records.Record:
    return {"curve": curve, "point": point, "variant": variant, "round": turn, "connections": point, **more}


SAMPLES: list[records.Record] = [
    {"curve": "concurrency", "facts": ["date: today"]},
    *[
        sample("concurrency", point, "lockwatch, Redis", turn, rate=50.0 * point, bare=100.0 * point, cpu=200.0, bare_cpu=100.0)
        for point in (1, 4, 512)
        for turn in range(3)
    ],
    {"curve": "keys", "facts": ["date: today"]},
    *[sample("keys", n, "Redis", new=1e-5, known=1e-4 * (1 + n / 1e6), ping=5e-5) for n in (1_000, 1_000_000)],
]


def test_many_keys_are_measured_and_not_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "records.jsonl"
    words = ["scaling", "--only", "keys", "--largest", "1000", "--out", str(file)]
    assert main(words) == 0
    first = records.read([file])
    assert [(r["point"], r["variant"]) for r in first if "point" in r] == [(1000, "memory"), (1000, "Redis")]
    assert all(min(r["new"], r["known"]) > 0 for r in first if "point" in r)
    assert "1,000" in capsys.readouterr().out
    assert main(words) == 0
    assert [r for r in records.read([file]) if "point" in r] == [r for r in first if "point" in r]


def test_curves_of_requests_are_measured_beside_the_bare_application(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    scaling.run(["limits"], scaling.Amount(1, 0.5, 1, environment="here"), file)
    measured = [record for record in records.read([file]) if "point" in record]
    assert [(r["point"], r["variant"]) for r in measured] == [(1, "lockwatch, memory"), (1, "lockwatch, Redis")]
    assert all(min(r["rate"], r["bare"]) > 0 for r in measured)


def test_two_workers_with_three_limits_serve_behind_one_port() -> None:
    variant = Variant("", "here", "ours", limit="100/minute", limits=3, workers=2)
    with Server(variant, Place(ROOT, sys.executable, "", Cores(frozenset(), frozenset()))) as server:
        status, headers = server.get()
        assert status == 200
        assert headers["ratelimit-policy"].count("q=") == 3
        assert server.cpu_seconds() > 0


def test_curves_become_tables_and_pictures(tmp_path: Path) -> None:
    found = curves.reports(SAMPLES)
    assert list(found) == ["scaling-concurrency", "scaling-keys"]
    row = ("512", "lockwatch, Redis", "25,600", "0.50", "0.50 to 0.50", "200", "100", "20.00", "10.00")
    assert found["scaling-concurrency"].tables[0].rows[-1] == row
    assert found["scaling-keys"].tables[0].rows[-1] == ("1,000,000", "Redis", "5,000", "0.50", "0.25", "100,000")
    written = pictures.write([*SAMPLES, records.kept("requests", COUNTED)], tmp_path)
    assert [path.name for path in written] == ["requests.svg", "scaling-concurrency.svg", "scaling-keys.svg"]
    assert {"bare", "lockwatch, Redis", "connections"} < set(texts(written[1].read_text("utf-8")))
    assert "lockwatch, <memory>" in texts(written[0].read_text("utf-8"))


def test_what_was_kept_is_published_where_a_page_has_a_place_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "records.jsonl", tmp_path / "page.md"
    records.append(file, records.kept("requests", COUNTED))
    records.append(file, records.kept("tokens", COUNTED))
    page.write_text("Before.\n<!-- figures: requests -->\nold\n<!-- end of figures: requests -->\nAfter.\n", "utf-8")
    assert main(["publish", str(page), str(file)]) == 1
    assert "no place for tokens" in capsys.readouterr().err
    text = page.read_text("utf-8")
    assert text.startswith("Before.\n<!--")
    assert text.endswith("-->\nAfter.\n")
    assert "| lockwatch, <memory> | 4,000 | 0.80 | 0.75 to 0.85 |" in text
    assert "old" not in text
    assert main(["plot", str(file), "--to", str(tmp_path / "images")]) == 0
    assert (tmp_path / "images/requests.svg").exists()


def test_a_request_is_taken_apart_into_what_it_allocates() -> None:
    report = allocations.run(50, Path(sys.executable), ("bare FastAPI", "one limit, memory"))
    bare, ours = report.tables[0].rows
    assert float(ours[4]) > 0
    if shutil.which("cc") is None:
        assert bare[1] == "-"
        return
    assert int(ours[1]) > int(bare[1]) > 50
    stages = [row[1] for row in report.tables[1].rows if row[0] == "one limit, memory"]
    assert {"application and framework", "entrance", "plan", "decision", "store", "headers"} <= set(stages)
    without = [row[1] for row in report.tables[1].rows if row[0] == "bare FastAPI"]
    assert set(without) <= {"application and framework", "event loop", "waiting"}


def test_a_function_is_on_the_account_of_its_module_or_of_its_class() -> None:
    def code(file: str, name: str) -> Any:
        return compile("", file, "exec").replace(co_qualname=name, co_name=name)

    ours = Path("/x/lockwatch")
    stages: Stages = (
        ("framework", ()),
        ("waiting", ()),
        ("way in", ("door.py",)),
        ("way out", ("door.py:Out",)),
        ("elsewhere", ()),
    )
    where = [
        (code("/x/lockwatch/door.py", "In.__call__"), 2),
        (code("/x/lockwatch/door.py", "Out.__call__"), 3),
        (code("/x/lockwatch/other.py", "f"), 4),
        (code("/site/starlette/routing.py", "f"), 0),
        (code("/lib/selectors.py", "f"), 1),
        (code("/lib/json.py", "f"), -1),
    ]
    assert staged([found for found, _ in where], stages, ours, 1) == where


def test_stacks_of_a_server_become_a_flame(tmp_path: Path) -> None:
    written = flame.run(["memory"], 0.5, tmp_path, "here")
    assert [path.name for path in written] == ["flame-memory.svg"]
    assert len(written[0].read_bytes()) < pictures.LARGEST
    assert any("one limit, memory" in text for text in texts(written[0].read_text("utf-8")))


def test_a_flame_shows_what_stacks_have_in_common() -> None:
    runner, app = "/lib/asyncio/runners.py:Runner.run", "/site/starlette/routing.py:Router.app"
    ours, route = "/x/lockwatch/fastapi/guard.py:Gate.__call__", "/x/apps/ours.py:make.<locals>.ping"
    found = [([runner, "/lib/asyncio/base.py:once", app, ours], 6), ([runner, app, route], 3), ([runner, app], 1)]
    stacks = flame.read([*found, ([runner, "/lib/selectors.py:select"], 90)])
    assert stacks == {(app, ours): 6, (app, route): 3, (app,): 1}
    assert flame.boxes(stacks, 0.0) == [
        svg.Box(0.0, 1.0, 0, "routing.py Router.app", "FastAPI and Starlette"),
        svg.Box(0.0, 0.3, 1, "ours.py make.ping", "application"),
        svg.Box(0.3, 0.6, 1, "fastapi/guard.py Gate.__call__", "lockwatch"),
    ]
    assert [box.width for box in flame.boxes(stacks, 0.5)] == [1.0, 0.6]
    many = Counter({(f"/x/lockwatch/a.py:f{n}", f"/x/lockwatch/b.py:{'g' * 60}{n}"): 1 + n for n in range(900)})
    assert len(flame.picture("many", many).encode()) <= flame.LARGEST


def test_an_axis_ends_over_what_it_shows() -> None:
    for values in ([0.3], [7.0, 12.0], [99.0], [4321.0, 12.0], [0.0]):
        axis = svg.upwards("", values)
        assert axis.at(max(values)) <= 1.0 + 1e-9
        assert 2 <= len(axis.marks) <= 12
    assert svg.decades("", [2_000, 90_000]).marks == [1e3, 1e4, 1e5]
    assert [svg.short(value) for value in (0.25, 64, 2_000, 1e6)] == ["0.25", "64", "2k", "1M"]
    assert svg.powers("", [4]).at(4) == 0
