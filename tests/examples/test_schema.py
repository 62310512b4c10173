"""Whatever is sent to the example applications, none answers with a 500. `python -m tests.stress schema` sends more."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.stress.schema import Target, explore, of_chronobot, of_livestotell, told


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("make", [of_chronobot, of_livestotell])
def test_no_request_is_a_500(embedded: Path, make: type[Target], mode: str) -> None:
    target = make()
    try:
        with target.observing() if mode == "observe" else nullcontext():
            explore(target, 2, random.randrange(2**32))
    finally:
        target.close()
    assert target.bad == []
    assert {200, 401} <= target.seen.keys(), told(target)
