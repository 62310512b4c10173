"""The long runs, short."""

from __future__ import annotations

import pytest

from tests.stress.admission import IN_FLIGHT, MODES, QUOTA, Seen, most_at_once, most_in_a_window, race
from tests.stress.adversary import LIMIT, PHASES, Subject, attack, subjects


@pytest.mark.parametrize("name", MODES)
def test_processes_never_get_more_than_the_quota(redis_server: str, name: str) -> None:
    found = race(redis_server, name, 6, 1.5)
    assert found.over == 0
    assert found.admitted > (IN_FLIGHT if name == "concurrent" else QUOTA)


def test_the_judge_counts_what_is_beyond_doubt() -> None:
    seen = [Seen(0, 5), Seen(3, 4), Seen(9, 11), Seen(10, 10)]
    assert most_in_a_window(seen, 10) == 3
    assert most_in_a_window(seen, 12) == 4
    assert most_at_once([Seen(0, 5), Seen(3, 6), Seen(5, 9)]) == 2


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.name)
def test_an_adversary_gets_no_more_than_promised(subject: Subject) -> None:
    most = max(attack(subject, phase).most for phase in PHASES[::3])
    assert LIMIT <= most <= subject.promised
