"""The part of the story about sessions: a refresh token that is used twice at once, and one that a thief uses later."""

from __future__ import annotations

import time
from typing import Any, Final

from lockwatch.demo.claims import Answer, Claim, equal, in_order
from lockwatch.demo.demo import GRACE
from lockwatch.demo.story import Context, Observed, Step

_REFRESH: Final = "POST /auth/refresh"
_SESSIONS: Final = "GET /auth/sessions"
_MARGIN: Final = 0.1


def stolen(context: Context) -> Observed:
    """Two tabs refresh at once; later a thief uses the token that both had."""
    first = context.traffic.on("POST /login")[-2].problem  # the right password, before the limit
    tabs = context.traffic.ask_at_once(_REFRESH, 2, json=_refresh(first))
    second = tabs[0].problem
    before = context.traffic.ask(_SESSIONS, headers=_bearer(second))
    _wait(tabs, context)
    thief = context.traffic.ask(_REFRESH, json=_refresh(first))
    owner = context.traffic.ask(_REFRESH, json=_refresh(second))
    after = context.traffic.ask(_SESSIONS, headers=_bearer(second))
    lines = [
        f"   two tabs refresh with one token at once   {in_order(tabs)}",
        f"   the new access token                      {before.status}",
        f"   {GRACE} s later a thief uses the old token     {thief.status} {thief.problem.get('error', '')}",
        f"   the owner refreshes with the new token    {owner.status} {owner.problem.get('error', '')}",
        f"   the new access token                      {after.status}",
    ]
    facts = {"statuses": [answer.status for answer in (*tabs, before, thief, owner, after)]}
    return Observed(lines, facts, stolen_claims(tabs, before, thief, owner, after))


def stolen_claims(tabs: list[Answer], before: Answer, thief: Answer, owner: Answer, after: Answer) -> list[Claim]:
    """What must come of it."""
    successors = {answer.problem.get("refresh_token") for answer in tabs}
    return [
        equal("both tabs get tokens", "200 200", in_order(tabs)),
        equal("and go on with the same refresh token, byte for byte", (1, False), (len(successors), None in successors)),
        equal("the new access token is believed", 200, before.status),
        equal("a used token is refused after the grace", (400, "invalid_grant"), (thief.status, thief.problem.get("error"))),
        equal("and ends the session: the newest refresh token of it is refused", 400, owner.status),
        equal("with an answer that does not say why", thief.body, owner.body),
        equal("and an access token of it is believed no more, long before it expires", 401, after.status),
    ]


def _wait(tabs: list[Answer], context: Context) -> None:
    """Until the grace of the rotation is over, whichever tab it was."""
    over = max(tab.received_at for tab in tabs) + GRACE + _MARGIN
    context.screen.progress(f"waiting {GRACE} s, until the grace is over", passing=True)
    time.sleep(max(0.0, over - time.perf_counter()))


def _refresh(pair: dict[str, Any]) -> dict[str, Any]:
    return {"refresh_token": pair.get("refresh_token", "none")}


def _bearer(pair: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair.get('access_token', 'none')}"}


STOLEN: Final = Step("A stolen refresh token: sessions that end when somebody else has a copy", stolen)
