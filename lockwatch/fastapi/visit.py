"""One request as lockwatch sees it: `scope["lockwatch"]` and `request.state.lockwatch`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Scope

from lockwatch.client import UNKNOWN, Client, Network
from lockwatch.errors import RequestRefused, TokenError, refusal
from lockwatch.headers import quota_headers
from lockwatch.keys import by_ip
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.flows import Outcome
from lockwatch.limits.plan import Plan, make_plan
from lockwatch.limits.policy import Receipt
from lockwatch.tokens.bearer import bearer_token

if TYPE_CHECKING:
    from lockwatch.anomaly.ban import Ban
    from lockwatch.fastapi.guard import Guard
    from lockwatch.tokens.claims import Claims
    from lockwatch.tokens.requirement import Requirement

_ENDED: Scope = {"type": "http", "method": "GET", "path": "", "headers": (), "client": None, "state": {}}
_NOBODY = Client(None, f"ip:{UNKNOWN}", None)
_ACCEPTED: Final = 101
_FAILED: Final = 500
STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Visit:
    """What is known and decided about one request.

    Attributes:
        decisions: one `Decision` per policy, in the order they were declared; empty before.
        receipts: what was charged and is still open: reservations, costs to settle, the request in flight.
        actual: what the request cost really; None as long as nobody said so.
        ended: whether its response has ended.
        status: of the response; None before it starts.
        entry: method and path as they came in, noted while there are known offenders.
        plan: what applied to the request, None before its route is known.
        prefix: the templates of the mounts it passed.
        outer: another visit began within this one.
        ban: the ban of its client, when there is one.
        failed: whether the application said that a login failed (or succeeded); None when it said nothing.
        believed: what the tokens say that the route requires, by requirement.
        inside: it came through every middleware of the application, to the router.
    """

    # Defaults stand on the class: one is made for every request, and most keep most of them.
    decisions: tuple[Decision, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    passed: tuple[object, ...] = ()
    status: int | None = None
    actual: int | None = None
    ended = False
    entry: tuple[str, str, str] | None = None
    plan: Plan | None = None
    prefix = ""
    inside = False
    outer = False
    ban: Ban | None = None
    failed: bool | None = None
    believed: Mapping[Requirement, Claims | None] = MappingProxyType({})
    _token: Claims | None = None
    _read = False
    _client: Client | None = None

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self.guard = guard
        self._scope = scope
        within: Any = scope.get("lockwatch")
        if isinstance(within, Visit):
            within.outer = True
        scope["lockwatch"] = self
        scope.setdefault("state", {})["lockwatch"] = self

    def record(self, outcome: Outcome) -> RequestRefused | None:
        """Note what was decided; the refusal, when there is one."""
        decisions, receipts = outcome.decisions, outcome.receipts
        self.decisions = self.decisions + decisions if self.decisions else decisions
        if receipts:
            self.receipts += receipts
        for decision in decisions:
            if not decision.allowed and not decision.shadow:
                return refusal(self.decisions)
        return None

    def follows(self, plan: Plan) -> bool:
        """Whether `plan` is what applies; an exempt client follows none."""
        return self.plan is plan

    def start(self, message: Message) -> None:
        """A response starts: its status decides reservations, and what it costs to be turned away."""
        self.status = status = message.get("status", _ACCEPTED)
        if self.receipts:
            self.conclude(ended=False)
        if status in (401, 403) and self.plan is not None and any(s.declaration.role == "look" for s in self.plan.steps):
            self.guard.admission.charge_failure(self)

    def conclude(self, ended: bool) -> None:
        """Settle what the response decides, without waiting."""
        self.ended = ended
        settlement = self.guard.admission.settlement
        self.receipts = settlement.conclude(self.receipts, self.status or _FAILED, ended, self.actual, self.failed)

    def end(self) -> None:
        """Conclude, and let go of the scope, which holds this visit: a cycle would keep the whole request until the garbage
        collector runs.
        """
        if self.receipts:
            self.conclude(ended=True)
        self._scope = _ENDED

    async def settle(self, actual: int) -> None:
        """Set the real cost of this request, for the limits that declare a `cost`: tokens, bytes, rows.

        It takes effect when the response has ended; until then the last call counts. Less than was charged is given back, more is
        charged whatever the quota.

        Raises: LookupError when no limit of the route has a cost to settle, ValueError.
        """
        if not isinstance(actual, int) or isinstance(actual, bool) or actual < 0:
            raise ValueError(f"the real cost is a whole number of at least 0, not {actual!r}")
        if self.plan is not None and not self.plan.exempt and not self.plan.has_costs:
            raise LookupError(
                "no limit of this route has a cost to settle; declare one with cost=, like RateLimit(..., cost=estimate)"
            )
        self.actual = actual
        if self.ended and self.receipts:
            self.conclude(ended=True)

    async def take(self, limits: Any, *, key: Any = by_ip, cost: int = 1, name: str = "message") -> Decision:
        """Charge a limit of your own on this route, for example for each message of an open WebSocket.

        Returns the decision that refuses, else the one with the least left; nothing is refused for you.
        """
        method, _, template = (self.plan.scope if self.plan is not None else "").partition(":")
        plan = make_plan((Declaration(limits, key=key, cost=cost, name=name),), method, template)
        return tightest((await self.guard.admission.decide(plan, self)).decisions)

    def __repr__(self) -> str:
        return f"Visit(decisions={self.decisions!r})"

    @property
    def lockwatch(self) -> Visit:
        """Itself: key functions take a visit as well as a request."""
        return self

    @property
    def client(self) -> Client:
        """Who sent the request."""
        if self._client is None:
            if self._scope is _ENDED:
                return _NOBODY
            peer = self._scope.get("client")
            host, port = peer or (None, None)
            engine = self.guard.engine
            self._client = engine.clients.resolve(host, self._scope["headers"], port == 0)
            if self._client.warning is not None:
                engine.warn(self._client.warning)
        return self._client

    def comes_from(self, networks: Sequence[Network]) -> bool:
        """Whether the client's address is in one of `networks`."""
        address = self.client.address
        return address is not None and any(address in network for network in networks)

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of the request's token; without one that verifies, what the application sets as `request.state.claims`."""
        if self.guard.engine.identity is not None and (token := self.token) is not None:
            return token
        claims = self._scope["state"].get("claims")
        return claims if isinstance(claims, Mapping) else None

    @property
    def user(self) -> str | None:
        """Who it is: what `LockWatch(user=...)` says, else the subject of the token, else `request.state.user_id`."""
        engine = self.guard.engine
        user = engine.config.user(self.request) if engine.config.user is not None else None
        if not user and engine.identity is not None and (token := self.token) is not None:
            return engine.identity.subject(token)
        user = user or self._scope["state"].get("user_id")
        return str(user) if user else None

    @property
    def token(self) -> Claims | None:
        """The claims of a token that verifies: of the one that the route requires, else of any bearer token."""
        identity = self.guard.engine.identity
        if not self._read and identity is not None:
            try:
                text = bearer_token(self.headers(b"authorization"))
                self.trust(None if text is None else identity.verify(text))
            except TokenError:
                self.trust(None)
        return self._token

    def trust(self, claims: Claims | None) -> None:
        """Note whose request this is; None for nobody's, whatever its headers say."""
        self._token, self._read = claims, True

    @property
    def request(self) -> HTTPConnection:
        """The request as functions of the application take it; its body cannot be read yet."""
        return Request(self._scope) if self._scope["type"] == "http" else HTTPConnection(self._scope)

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)

    @property
    def method(self) -> str:
        """The method of the request, ``WEBSOCKET`` for a handshake."""
        return "WEBSOCKET" if self._scope["type"] == "websocket" else str(self._scope["method"])

    def headers(self, name: bytes) -> list[str]:
        """All headers of that lower-case name."""
        return [value.decode("latin-1") for key, value in self._scope["headers"] if key == name]

    def announce(self, message: Message) -> None:
        """Put the quota headers on the start of a response."""
        if self.decisions:
            added = quota_headers(self.decisions, self.guard.engine.config.headers, time.time())
            if self.outer:  # an application mounted in another, each with a LockWatch: the inner one speaks first
                said = {name for name, _ in message.get("headers", ())}
                added = [header for header in added if header[0] not in said]
            # A new list: the one in the message may belong to a Response object that is sent again.
            message["headers"] = [*message.get("headers", ()), *added]


def visit_in(scope: Scope) -> Visit | None:
    """The visit of a scope, None when no middleware of ours has seen it."""
    visit: Any = scope.get("lockwatch")
    return visit if isinstance(visit, Visit) else None
