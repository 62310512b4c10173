"""The memory of accepted tokens: bounded, short, and never of anything that was not accepted."""

from __future__ import annotations

import pytest

from lockwatch.errors import TokenError
from lockwatch.testing.spellings import spellings
from lockwatch.tokens.verified import VerifiedTokens
from tests.tokens import forge
from tests.tokens.forge import NOW, claims, token

KEY = forge.ring("HS256").current


def counted(max_entries: int = 4096) -> tuple[VerifiedTokens, list[float]]:
    """A memory, and the times at which its verifier was asked."""
    asked: list[float] = []
    verifier = forge.verifier("HS256")

    def verify(text: object, now: float) -> object:
        asked.append(now)
        return verifier.verify(text, now)

    return VerifiedTokens(verify, 30, max_entries), asked  # type: ignore[arg-type]


def test_a_token_is_verified_once_a_minute() -> None:
    memory, asked = counted()
    text = token(KEY)
    for seconds in (0, 1, 59.9, 60, 61, 119.9, 120):
        assert memory.verify(text, NOW + seconds).jti == "t-1"
    assert asked == [NOW, NOW + 60, NOW + 120]


def test_it_is_not_remembered_past_its_end() -> None:
    memory, _ = counted()
    text = token(KEY, body=claims(exp=NOW + 5))
    memory.verify(text, NOW)
    assert memory.verify(text, NOW + 34.9)
    with pytest.raises(TokenError):
        memory.verify(text, NOW + 35)


def test_a_clock_that_steps_back_makes_nothing_live_longer() -> None:
    memory, asked = counted()
    text = token(KEY)
    memory.verify(text, NOW)
    memory.verify(text, NOW - 1)
    assert asked == [NOW, NOW - 1]


def test_only_accepted_tokens_are_remembered() -> None:
    memory, asked = counted()
    for text in ("a.b.c", token(KEY, sign=lambda _: bytes(32)), token(KEY, body=claims(exp=NOW - 60, iat=NOW - 90))):
        for _ in range(2):
            with pytest.raises(TokenError):
                memory.verify(text, NOW)
    assert (len(memory), len(asked)) == (0, 6)


def test_another_spelling_is_another_token() -> None:
    memory, _ = counted()
    good = token(KEY)
    memory.verify(good, NOW)
    for text in (*[spell(good) for spell in spellings().values()], None, 7, "." * 2**20):
        if text != good:
            with pytest.raises(TokenError):
                memory.verify(text, NOW)
    assert len(memory) == 1


def test_it_is_bounded_and_holds_no_token() -> None:
    memory, _ = counted(max_entries=10)
    for n in range(25):
        memory.verify(token(KEY, body=claims(jti=f"t{n}")), NOW)
        assert len(memory) <= 10
    assert all(len(name) == 32 for name in memory._found)
    memory.clear()
    assert len(memory) == 0
