"""The records of `scaling` as tables and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from tests.benchmarks.records import Record
from tests.benchmarks.table import Report, Table, middle, spread
from tests.svg import Point, decades, lines, powers, upwards

ACROSS: Final = {
    "concurrency": "connections",
    "limits": "limits of the route",
    "workers": "processes of uvicorn",
    "keys": "keys",
}
_SERVED: Final = ("", "variant", "requests/s", "to bare", "all rounds", "server us/request", "of bare", "ms per answer", "of bare")
_KEYS: Final = ("keys", "store", "checks/s, known keys", "to the fewest", "of PING/s", "checks/s, new keys")


def reports(records: Sequence[Record]) -> dict[str, Report]:
    """A report of each curve there are samples of, by names like ``scaling-concurrency``."""
    return {f"scaling-{name}": _report(name, records) for name in ACROSS if _samples(name, records)}


def pictures(records: Sequence[Record]) -> dict[str, str]:
    """Pictures by the names of their files."""
    return {f"scaling-{name}.svg": _picture(name, _samples(name, records)) for name in ACROSS if _samples(name, records)}


def _samples(name: str, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.get("curve") == name and "point" in record]


def _grouped(samples: Sequence[Record]) -> dict[tuple[str, int], list[Record]]:
    found: dict[tuple[str, int], list[Record]] = {}
    for sample in samples:
        found.setdefault((sample["variant"], sample["point"]), []).append(sample)
    return dict(sorted(found.items()))


def _report(name: str, records: Sequence[Record]) -> Report:
    facts = [record["facts"] for record in records if record.get("curve") == name and "facts" in record]
    groups = _grouped(_samples(name, records))
    if name == "keys":
        rows = [_of_keys(store, point, groups) for store, point in groups]
        return Report(tuple(facts[-1]), (Table("", _KEYS, tuple(rows)),))
    rows = [_of_served(variant, point, found) for (variant, point), found in groups.items()]
    return Report(tuple(facts[-1]), (Table("", (ACROSS[name], *_SERVED[1:]), tuple(rows)),))


def _of_served(variant: str, point: int, found: Sequence[Record]) -> tuple[str, ...]:
    ratios = [one["rate"] / one["bare"] for one in found]
    rate, bare = median(one["rate"] for one in found), median(one["bare"] for one in found)
    cpu = [middle([one[which] for one in found], "{:.0f}") for which in ("cpu", "bare_cpu")]
    waits = [f"{found[0]['connections'] / each * 1000:.2f}" for each in (rate, bare)]
    return (f"{point:,}", variant, f"{rate:,.0f}", middle(ratios), spread(ratios), *cpu, *waits)


def _of_keys(store: str, point: int, groups: Mapping[tuple[str, int], Sequence[Record]]) -> tuple[str, ...]:
    found, fewest = groups[store, point][-1], min(other for name, other in groups if name == store)
    first = groups[store, fewest][-1]
    ping = f"{found['ping'] / found['known']:.2f}" if found["ping"] else ""
    return (
        f"{point:,}",
        store,
        f"{1 / found['known']:,.0f}",
        f"{first['known'] / found['known']:.2f}",
        ping,
        f"{1 / found['new']:,.0f}",
    )


def _picture(name: str, samples: Sequence[Record]) -> str:
    groups = _grouped(samples)
    points = sorted({point for _, point in groups})
    across = powers(ACROSS[name], points)
    series: dict[str, list[Point]] = {}
    for (variant, point), found in groups.items():
        if name == "keys":
            series.setdefault(f"{variant}, known keys", []).append((point, 1 / found[-1]["known"]))
            series.setdefault(f"{variant}, new keys", []).append((point, 1 / found[-1]["new"]))
        else:
            series.setdefault(variant, []).append((point, median(one["rate"] for one in found)))
            series.setdefault("bare", []).append((point, median(one["bare"] for one in found)))
    up = "checks/s" if name == "keys" else "requests/s"
    merged = {variant: _once(line) for variant, line in series.items()}
    axis = decades if name == "keys" else upwards
    return lines(name, merged, across, axis(up, [y for line in merged.values() for _, y in line]))


def _once(line: Sequence[Point]) -> list[Point]:
    """One value for each place: the bare application was measured beside each variant."""
    return [(x, median(y for other, y in line if other == x)) for x in sorted({x for x, _ in line})]
