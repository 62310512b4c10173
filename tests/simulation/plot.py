"""Plots of the figures as SVG, a few kilobytes each."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from tests.svg import Axis, lines, powers

MARKS = (10, 20, 30, 60, 120, 250, 1000)


def plot(records: list[dict[str, Any]], folder: Path) -> None:
    """Write all plots that the figures are for."""
    folder.mkdir(parents=True, exist_ok=True)
    slow = [r for r in records if r["scenario"].startswith("A4-") or r["scenario"] == "A5"]
    slow = [r for r in slow if _rate(r) and not r["ablated"]]
    for name, picture in (("detection-rate.svg", _found(slow)), ("detection-time.svg", _time(slow))):
        (folder / name).write_text(picture, encoding="utf-8")


def _rate(record: dict[str, Any]) -> float:
    name = record["scenario"]
    tail = name.removeprefix("A4-")
    return 10.0 if name == "A5" else float(tail) if tail.isdigit() else 0.0


def _found(records: list[dict[str, Any]]) -> str:
    rates: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        within = record["detected"] and record["minutes"] <= 24 * 60
        rates[_label(record)][_rate(record)].append(100.0 * within)
    series = {name: [(rate, fmean(values)) for rate, values in sorted(found.items())] for name, found in rates.items()}
    up = Axis("found within 24 hours, %", [0, 25, 50, 75, 100], 0, 100)
    return lines("Slow attacks", series, powers("attempts in a day", MARKS), up)


def _time(records: list[dict[str, Any]]) -> str:
    hours: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["detected"]:
            hours[_label(record)][_rate(record)].append(record["minutes"] / 60)
    series = {name: [(rate, median(values)) for rate, values in sorted(found.items())] for name, found in hours.items()}
    top = max((y for points in series.values() for _, y in points), default=1)
    ticks = [tick for tick in (0, 6, 12, 24, 48, 72, 96, 120, 168) if tick <= top * 1.1]
    up = Axis("hours to detection, median of the found", ticks, 0, top * 1.1)
    return lines("Slow attacks", series, powers("attempts in a day", MARKS), up)


def _label(record: dict[str, Any]) -> str:
    return f"{record['users']:,} users, dispersion {record['phi']:g}"
