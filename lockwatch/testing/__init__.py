"""For the tests of applications that lockwatch protects: time that a test moves, tokens, assertions, and hostile tokens.

Nothing here loads a framework. The fixtures for pytest are in `lockwatch.pytest_plugin`.
"""

from lockwatch.testing.asserts import (
    assert_limited,
    assert_limited_async,
    assert_not_limited,
    assert_not_limited_async,
    assert_requires_token,
    assert_requires_token_async,
)
from lockwatch.testing.attacks import Attack
from lockwatch.testing.firing import Breach, assert_withstands, hostile_tokens, withstand
from lockwatch.testing.settings import isolated, reset
from lockwatch.testing.time import VirtualClock, clock
from lockwatch.testing.tokens import token_for
from lockwatch.testing.watching import Captured, captured_events

__all__ = [
    "Attack",
    "Breach",
    "Captured",
    "VirtualClock",
    "assert_limited",
    "assert_limited_async",
    "assert_not_limited",
    "assert_not_limited_async",
    "assert_requires_token",
    "assert_requires_token_async",
    "assert_withstands",
    "captured_events",
    "clock",
    "hostile_tokens",
    "isolated",
    "reset",
    "token_for",
    "withstand",
]
