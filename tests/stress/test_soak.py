"""The judges of the soak: they see what is lost, what is too much, and what grows."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from tests.stress import soak_memory
from tests.stress.admission import Seen
from tests.stress.soak import FLAT, MINUTE, Sample, anatomy, judged, report, slope, unaccounted
from tests.stress.soak_clients import Notes
from tests.stress.soak_site import NAMES, Found

WHOLE = dict.fromkeys(NAMES, True)


def found(*ids: str, folded: int = 0, gaps: int = 0, twice: int = 0, status: int = 200) -> Found:
    return Found(dict.fromkeys(ids, status), twice, folded, gaps, Counter(http=len(ids)))


def flat(growth: float = 0.0) -> list[Sample]:
    return [Sample(60.0 * n, dict.fromkeys(NAMES, int(2**26 + growth * 1024 * n))) for n in range(10)]


def test_an_answer_without_a_row_is_unaccounted_for_unless_a_gap_or_a_folded_row_stands_for_it() -> None:
    notes = Notes(answered={"a": 200, "b": 200, "c": 429})
    assert unaccounted(notes, found("a", "b", "c")) == 0
    assert unaccounted(notes, found("a", "other")) == 2
    assert unaccounted(notes, found("a", folded=1, gaps=1)) == 0


def test_the_most_in_a_window_is_looked_for_between_faults() -> None:
    notes = Notes()
    notes.admitted["guesses", "ann"] = [Seen(n * MINUTE // 10, n * MINUTE // 10 + 10) for n in range(8)]
    notes.admitted["messages", "pro-1"] = [Seen(n, n + 1) for n in range(50)]
    notes.spent["ann"] = [(Seen(0, 10), 700), (Seen(MINUTE, MINUTE + 10), 800)]
    most = {row.what: row.most for row in judged(notes, [(0, 2 * MINUTE)])}
    assert most == {
        "messages a minute": 0,
        "messages of sockets a minute": 0,
        "writing a minute": 0,
        "guesses a minute": 8,
        "tokens a day, as settled": 1500,
    }
    apart = {row.what: row.most for row in judged(notes, [(0, MINUTE // 2), (MINUTE // 2 + 11, 2 * MINUTE)])}
    assert (apart["guesses a minute"], apart["tokens a day, as settled"]) == (5, 800)


def test_the_slope_of_memory_is_per_minute() -> None:
    assert round(slope(flat(10.0), "chronobot")) == 10
    assert slope(flat()[:1], "chronobot") == 0.0


def test_the_report_fails_for_whatever_is_wrong(capsys: object) -> None:
    def verdict(notes: Notes, rows: Found, growth: float = 0.0, whole: dict[str, bool] = WHOLE) -> int:
        return report(notes, flat(growth), [(0, MINUTE)], rows, whole)

    fine = Notes(answered={"a": 200})
    assert verdict(fine, found("a")) == 0
    assert verdict(fine, found()) == 1
    assert verdict(fine, found("a", twice=1)) == 1
    assert verdict(fine, found("a", status=500)) == 1
    assert verdict(fine, found("a"), growth=2 * FLAT) == 1
    assert verdict(fine, found("a"), whole=WHOLE | {"chronobot": False}) == 1
    assert verdict(Notes(answered={"a": 200}, wrong=["a wrong password was right"]), found("a")) == 1
    fine.admitted["writing", "ann"] = [Seen(n, n) for n in range(11)]
    assert verdict(fine, found("a")) == 1


def test_a_process_says_what_its_memory_is_made_of(tmp_path: Path) -> None:
    soak_memory.write(tmp_path)
    kept = [[] for _ in range(5000)]
    soak_memory.write(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / f"{os.getpid()}.jsonl").read_text("utf-8").splitlines()]
    first, second = lines
    assert second["kinds"]["list"] - first["kinds"]["list"] >= len(kept)
    assert second["blocks"] > first["blocks"]
    assert min(first["resident"], first["trimmed"], first["threads"]) > 0
    assert "list +" in anatomy([first, first, second])
