"""When a network says little about who somebody is: an office, a carrier, a whole site behind one /24."""

from __future__ import annotations

from typing import Final

_CROWD: Final = 24
_BUSY: Final = 8


def is_crowded(people: int) -> bool:
    """Whether so many users logged in from a network that a user of it could be any of them."""
    return people >= _CROWD


def is_busy(people: int) -> bool:
    """Whether its addresses are worth remembering, so that they are known by the time it is crowded."""
    return people >= _BUSY
