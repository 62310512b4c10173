"""Replacing keys: after every step that is allowed, every token alive verifies; other steps are refused, with the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lockwatch.errors import ConfigurationError, UnsafeStep
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.keys import key_of_pem
from lockwatch.tokens.ring import ring_of_file
from lockwatch.tokens.rotation import Entry, KeyFile, added, read, retired, retirement, rotated, write
from tests.tokens import forge
from tests.tokens.forge import NOW

JOSE = engine_named("python-jose")


def states(file: KeyFile) -> list[tuple[str, str]]:
    return [(entry.kid, entry.state) for entry in file.entries]


def first() -> KeyFile:
    return added(KeyFile(), "one", "RS256", "PEM", NOW)


def second() -> KeyFile:
    return added(first(), "two", "RS256", "PEM", NOW)


def third() -> KeyFile:
    return rotated(second(), NOW + 900)


# ----------------------------------------------------------------------- steps
def test_the_first_key_signs_at_once_and_the_second_waits() -> None:
    assert states(first()) == [("one", "current")]
    assert states(second()) == [("one", "current"), ("two", "next")]


def test_there_is_one_next_key() -> None:
    with pytest.raises(UnsafeStep, match="key two is next already") as caught:
        added(second(), "three", "RS256", "PEM", NOW)
    assert caught.value.earliest is None


def test_a_key_signs_only_after_everybody_could_see_it() -> None:
    with pytest.raises(UnsafeStep, match=r"rotate from 2025-06-15 15:21:40 UTC on") as caught:
        rotated(second(), NOW + 899.9)
    assert caught.value.earliest == NOW + 900
    assert states(third()) == [("two", "current"), ("one", "retiring")]
    assert [entry.since for entry in third().entries] == [NOW + 900, NOW + 900]


def test_there_is_nothing_to_rotate_to_without_a_next_key() -> None:
    for compromised in (False, True):
        with pytest.raises(UnsafeStep, match="make one first: lockwatch keys generate"):
            rotated(first(), NOW + 10**9, compromised=compromised)


def test_a_key_is_kept_until_its_last_token_is_dead() -> None:
    file = third()
    earliest = NOW + 900 + 86_400 + 300 + 900
    assert retirement(file, file.entries[1]) == earliest
    with pytest.raises(UnsafeStep, match="its tokens may live until") as caught:
        retired(file, "one", earliest - 0.1)
    assert caught.value.earliest == earliest
    assert states(retired(file, "one", earliest)) == [("two", "current")]


def test_the_signing_key_is_never_retired() -> None:
    for compromised in (False, True):
        with pytest.raises(UnsafeStep, match="signs tokens; rotate to another one first"):
            retired(second(), "one", NOW + 10**9, compromised=compromised)


def test_a_key_that_never_signed_goes_at_any_time() -> None:
    assert states(retired(second(), "two", NOW)) == [("one", "current")]


def test_an_unknown_key_cannot_be_retired() -> None:
    with pytest.raises(UnsafeStep, match="there is no key 'nine'; the keys are one, two"):
        retired(second(), "nine", NOW)


def test_a_compromised_key_goes_at_once() -> None:
    assert states(rotated(second(), NOW, compromised=True)) == [("two", "current")]
    assert states(retired(third(), "one", NOW + 900, compromised=True)) == [("two", "current")]


# ------------------------------------------------------------------------ text
def test_a_key_file_is_read_as_it_was_written() -> None:
    for file in (first(), second(), third(), replace(first(), token_seconds=90_000.0)):
        assert read(write(file)) == file


def test_an_entry_does_not_show_its_key() -> None:
    assert "PEM" not in repr(third())


BROKEN: list[Any] = [
    "",
    "{}",
    "[]",
    "null",
    "{" * 100_000,
    "[" * 100_000,
    write(KeyFile()),
    write(KeyFile((Entry("a", "RS256", "current", 0, "PEM"), Entry("b", "RS256", "current", 0, "PEM")))),
    write(KeyFile((Entry("a", "RS256", "next", 0, "PEM"),))),
    write(KeyFile((Entry("a", "RS256", "current", 0, "PEM"), Entry("a", "RS256", "next", 0, "PEM")))),
    write(first()).replace('"current"', '"old"'),
    write(first()).replace(str(NOW), '"soon"'),
    write(first()).replace('"pem"', '"key"'),
    write(first()).replace('"PEM"', "7"),
    write(first()).replace("86400", "null"),
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_key_file_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="key file") as caught:
        read(text)
    assert "PEM" not in str(caught.value)


# ------------------------------------------------------------------------ ring
def real(**changes: Any) -> KeyFile:
    pems = {name: forge.pem(name) for name in ("a", "b")}
    entries = [
        Entry(key_of_pem(pem, JOSE).kid, "RS256", state, NOW, pem)
        for pem, state in zip(pems.values(), ("current", "retiring"), strict=True)
    ]
    return replace(KeyFile(tuple(entries)), **changes)


def test_a_ring_of_a_file_signs_with_its_current_key_and_verifies_with_all() -> None:
    ring = ring_of_file(real(), JWTConfig(), JOSE)
    assert [*ring.keys] == [entry.kid for entry in real().entries]
    assert ring.current.kid == real().entries[0].kid


def test_tokens_may_not_outlive_what_the_file_reckons_with() -> None:
    for config in (JWTConfig(access_token_ttl=86_401), JWTConfig(refresh_format="jwt")):
        with pytest.raises(ConfigurationError, match="lockwatch keys generate FILE --token-ttl"):
            ring_of_file(real(), config, JOSE)
    assert ring_of_file(real(token_seconds=7 * 86_400), JWTConfig(refresh_format="jwt"), JOSE)


def test_a_file_whose_names_do_not_fit_its_keys_is_refused() -> None:
    one, two = real().entries
    swapped = KeyFile((replace(one, kid=two.kid), replace(two, kid=one.kid)))
    with pytest.raises(ConfigurationError, match="not the thumbprint"):
        ring_of_file(swapped, JWTConfig(), JOSE)


def test_a_configured_algorithm_has_to_be_that_of_the_current_key() -> None:
    with pytest.raises(ConfigurationError, match="current key of the file is for RS256"):
        ring_of_file(real(), JWTConfig(algorithm="ES256"), JOSE)


# ----------------------------------------------------------------- whole lives
class Lives(RuleBasedStateMachine):
    """Random steps at random times, with a cache that is as old as it may be and a token signed at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.made = float(NOW), 1
        self.file = added(KeyFile(), "k1", "RS256", "PEM", self.now)
        self.history = [(self.now, self.file)]
        self.signed: dict[str, float] = {}

    def move(self, file: KeyFile) -> None:
        self.file = file
        self.history.append((self.now, file))

    @rule(seconds=st.sampled_from([1, 60, 899, 900, 86_400, 90_000]) | st.floats(0, 100_000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def generate(self) -> None:
        try:
            self.move(added(self.file, f"k{self.made + 1}", "RS256", "PEM", self.now))
            self.made += 1
        except UnsafeStep:
            pass

    @rule()
    def rotate(self) -> None:
        try:
            self.move(rotated(self.file, self.now))
        except UnsafeStep:
            pass

    @precondition(lambda self: len(self.file.entries) > 1)
    @rule(place=st.integers(0, 5))
    def retire(self, place: int) -> None:
        entry = self.file.entries[place % len(self.file.entries)]
        try:
            self.move(retired(self.file, entry.kid, self.now))
        except UnsafeStep:
            pass

    def as_seen(self, at: float) -> KeyFile:
        return next((file for time, file in reversed(self.history) if time <= at), self.history[0][1])

    @invariant()
    def every_token_alive_verifies_everywhere(self) -> None:
        # A process may sign with, and a client verify with, what it read publish_seconds ago.
        for reader in (self.now, self.now - 899.9):
            current = self.as_seen(reader).entries[0].kid
            self.signed[current] = self.now
        for kid, at in self.signed.items():
            if self.now < at + 86_400 + 300:
                assert kid in {entry.kid for entry in self.file.entries}
        assert self.file.entries[0].kid in {entry.kid for entry in self.as_seen(self.now - 899.9).entries}
        assert [entry.state for entry in self.file.entries].count("current") == 1


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
