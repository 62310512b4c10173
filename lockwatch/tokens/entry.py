"""A token and the limits of its route, decided together: one call to the store. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockwatch.errors import StoreError, StoreFull
from lockwatch.flow import Call, Flow
from lockwatch.limits import flows
from lockwatch.limits.flows import Outcome, Terms
from lockwatch.limits.policy import Charge
from lockwatch.tokens.outcomes import Outcome as Said
from lockwatch.tokens.outcomes import Standing
from lockwatch.tokens.sessions import read_standing

NOTHING: Final = Outcome((), ())
UNASKED: Final = Standing(Said.LIVE, degraded=True)
"""What is taken for the standing of a token while the store is down, where a route says so."""


def enter(
    charges: Sequence[Charge], terms: Terms, *, asked: Call, on_store_error: str = "deny", apart: bool = False
) -> Flow[tuple[Standing, Outcome]]:
    """Charge `charges`, if the token that `asked` is about is believed; for one that was revoked nothing is charged.

    Where the store is split, or sessions are `apart` in another one, the token is asked for first.

    Args:
        asked: a call of `Sessions.standing_call`.
        on_store_error: ``deny`` raises when nobody knows whether the token was revoked; ``allow`` believes it.

    Raises: StoreError, with ``deny``.
    """
    if not charges or terms.split or apart:
        standing = yield from _asking(asked, on_store_error)
        return standing, (yield from flows.admit(charges, terms)) if charges and standing.live else NOTHING
    try:
        reply = yield _together(asked, flows.call("admit", charges, terms))
    except StoreError as error:
        if on_store_error != "allow":
            raise
        return UNASKED, (yield from flows.without_store(charges, terms, isinstance(error, StoreFull)))
    standing = read_standing(reply)
    return standing, flows.outcome(charges, reply[2:], terms) if standing.live else NOTHING


def _asking(asked: Call, on_store_error: str) -> Flow[Standing]:
    try:
        return read_standing((yield asked))
    except StoreError:
        if on_store_error != "allow":
            raise
        return UNASKED


def _together(asked: Call, admit: Call) -> Call:
    return Call("enter", (*asked.keys, *admit.keys), (admit.args[0], len(asked.keys), *admit.args[1:]), words=asked.words)
