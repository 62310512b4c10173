"""The part of the story about rate limits."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from lockwatch.demo.claims import Answer, Claim, between, equal, in_order, most_within, statuses
from lockwatch.demo.demo import LIMITS
from lockwatch.demo.story import Context, Observed, Step
from lockwatch.headers import NAMES, QUOTA_EXCEEDED

_QUOTA, _WINDOW = 10, 5  # what LIMITS says of GET /search; written out, as in every claim here
_BURST: Final = 60
_SERIES: Final = 100
_ATTEMPTS: Final = (*["wrong password"] * 2, *["malformed JSON"] * 2, *["right password"] * 2)
_UPLOAD: Final = 5 * 1024 * 1024
_JSON: Final = {"Content-Type": "application/json"}
_SHOWN: Final = ("Content-Type", "Retry-After", *(name for name in NAMES if name != "Retry-After"))


def burst(context: Context) -> Observed:
    """More than the quota at once, then more still, one by one."""
    at_once = context.traffic.ask_at_once("GET /search", _BURST)
    later = list(_series(context, "GET /search", until=at_once[0].sent_at + _WINDOW / 2))
    lines = [
        f"   {_BURST:3} requests at the same time  {statuses(at_once)}",
        f"   {len(later):3} more, one after another   {statuses(later)}",
    ]
    claims = [
        equal(
            f"exactly {_QUOTA} of {_BURST} simultaneous requests are admitted",
            f"{_QUOTA} x 200, {_BURST - _QUOTA} x 429",
            statuses(at_once),
        ),
        equal("whoever keeps asking keeps being refused", f"{len(later)} x 429", statuses(later)),
    ]
    return Observed(lines, {"at_once": statuses(at_once), "one_by_one": statuses(later)}, claims)


def refusal(context: Context) -> Observed:
    """One refused request, in full."""
    answer = context.traffic.ask("GET /search")
    headers = {name: answer.headers[name.lower()] for name in _SHOWN if name.lower() in answer.headers}
    lines = [
        f"   HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        *(f"   {name}: {value}" for name, value in headers.items()),
        "",
        *(f"   {line}" for line in json.dumps(answer.problem, indent=2).splitlines()),
        "",
    ]
    facts = {"status": answer.status, "headers": headers, "body": answer.problem}
    return Observed(lines, facts, refusal_claims(answer))


def refusal_claims(answer: Answer) -> list[Claim]:
    """What a refusal must say."""
    body, wait = answer.problem, answer.number("retry-after")
    named = re.findall(r'"(.+?)"', answer.headers.get("ratelimit", ""))
    return [
        equal("the status is 429", 429, answer.status),
        equal("the body is a problem document", "application/problem+json", answer.headers.get("content-type")),
        equal("its type is the registered one", QUOTA_EXCEEDED, body.get("type")),
        between("Retry-After is in whole seconds, no more than the window", 1, _WINDOW, wait),
        equal("the body says the same", "whole seconds" if wait is None else wait, body.get("retry_after")),
        equal("X-RateLimit-Remaining is 0", 0, answer.number("x-ratelimit-remaining")),
        equal("headers and body name the same policy", named or "a name", body.get("violated-policies")),
    ]


def coming_back(context: Context) -> Observed:
    """Wait as long as the refusal said, asking now and then, and be admitted."""
    searches = context.traffic.on("GET /search")
    first, told = min(answer.sent_at for answer in searches), searches[-1]
    wait = told.number("retry-after") or _WINDOW
    context.screen.progress(f"waiting {wait} s, as Retry-After said, and asking all the while")
    # Once a second, once just before the window is over, and when Retry-After is over.
    moments = sorted([*(told.received_at + second for second in range(1, wait + 1)), first + _WINDOW - 0.1])
    asked = [_ask_at(moment, moments[-1], context) for moment in moments]
    after = [round(answer.sent_at - first, 2) for answer in asked]
    lines = [
        "   seconds after the first search  " + "".join(f"{seconds:6.2f}" for seconds in after),
        "   answer                          " + "".join(f"{answer.status:6}" for answer in asked),
    ]
    facts = {"retry_after": wait, "asked_after": after, "statuses": [answer.status for answer in asked]}
    return Observed(lines, facts, coming_back_claims(searches, asked))


def coming_back_claims(searches: Sequence[Answer], asked: Sequence[Answer]) -> list[Claim]:
    """Not too early, not too late: `searches` end with the refusal, `asked` when its Retry-After was over."""
    # No window began before the first request was sent, so none was over when an answer came before this moment.
    over = min(answer.sent_at for answer in searches) + _WINDOW
    early = sum(answer.admitted for answer in asked if answer.received_at < over)
    return [
        equal(f"before the {_WINDOW} seconds are over, none is admitted", 0, early),
        between(f"no {_WINDOW} seconds hold more than {_QUOTA} admissions", 0, _QUOTA, most_within([*searches, *asked], _WINDOW)),
        equal(
            "when Retry-After is over, a request is admitted: being refused was never counted",
            "429 200",
            in_order([searches[-1], asked[-1]]),
        ),
    ]


def login(context: Context) -> Observed:
    """Wrong passwords and malformed bodies, then the right password too late."""
    wrong, right = {"username": "ada", "password": "guess"}, {"username": "ada", "password": "correct horse"}
    bodies = [*[json.dumps(wrong)] * 2, *["{not json"] * 2, *[json.dumps(right)] * 2]
    answers = [context.traffic.ask("POST /login", content=body, headers=_JSON) for body in bodies]
    lines = [f"   {what:16}{answer.status}" for what, answer in zip(_ATTEMPTS, answers, strict=True)]
    remaining = [answer.number("x-ratelimit-remaining") for answer in answers]
    claims = [
        equal(
            "after five attempts even the right password is refused",
            "401 401 422 422 200 429",
            in_order(answers),
        ),
        equal("malformed JSON counts like any other attempt", [4, 3, 2, 1, 0, 0], remaining),
        equal("not a byte of the refused body is read", 0, answers[-1].body_read),
    ]
    return Observed(lines, {"statuses": [answer.status for answer in answers], "remaining": remaining}, claims)


def upload(context: Context) -> Observed:
    """The same 5 MB, admitted and refused."""
    admitted, refused = [context.traffic.ask("POST /upload", content=bytes(_UPLOAD)) for _ in range(2)]
    lines = [f"   {a.status}: the application read {a.body_read:9,} of {_UPLOAD:,} bytes" for a in (admitted, refused)]
    claims = [
        equal("the first upload is admitted, the second refused", "200 429", in_order([admitted, refused])),
        equal("all of the admitted body is read", _UPLOAD, admitted.body_read),
        equal("not a byte of the refused body is read", 0, refused.body_read),
    ]
    return Observed(lines, {"bytes": _UPLOAD, "read": [admitted.body_read, refused.body_read]}, claims)


def everyone_else(context: Context) -> Observed:
    """A limit that is not reached, and no limit."""
    limited, free = ([context.traffic.ask(route) for _ in range(_SERIES)] for route in ("GET /items", "GET /health"))
    remaining = [answer.number("x-ratelimit-remaining") for answer in limited]
    counted = f"{remaining[0]} to {remaining[-1]} in {len(set(remaining))} steps"
    lines = [
        f"   GET /items   {statuses(limited)}, X-RateLimit-Remaining from {remaining[0]} down to {remaining[-1]}",
        f"   GET /health  {statuses(free)}, no quota headers",
    ]
    claims = [
        equal("below the limit, all are admitted", f"{_SERIES} x 200", statuses(limited)),
        equal("each counts exactly once", f"999 to 900 in {_SERIES} steps", counted),
        equal("without a limit, all are admitted", f"{_SERIES} x 200", statuses(free)),
        equal("and no answer has quota headers", 0, sum("ratelimit" in name for answer in free for name in answer.headers)),
    ]
    return Observed(lines, {"items": statuses(limited), "health": statuses(free)}, claims)


def _series(context: Context, route: str, until: float) -> Iterator[Answer]:
    """A hundred requests one by one, fewer when the network takes too long for them."""
    for _ in range(_SERIES):
        yield context.traffic.ask(route)
        if time.perf_counter() > until:
            return


def _ask_at(moment: float, end: float, context: Context) -> Answer:
    while (left := moment - time.perf_counter()) > 0:
        context.screen.progress(f"{end - time.perf_counter():.1f} s to go", passing=True)
        time.sleep(min(left, 0.1))
    return context.traffic.ask("GET /search")


STEPS: Final = (
    Step(f"A burst: GET /search allows {LIMITS['GET /search']} per address", burst),
    Step("What a refused client is told", refusal),
    Step("Coming back when told to", coming_back),
    Step(f"Guessing passwords: POST /login allows {LIMITS['POST /login']}", login),
    Step(f"Large uploads: POST /upload allows {LIMITS['POST /upload']}", upload),
    Step("Everyone else", everyone_else),
)
