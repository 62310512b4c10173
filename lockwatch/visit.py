"""One request as lockwatch sees it, whatever the framework: who sent it, what applies to it, what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lockwatch.capture import request_id_of
from lockwatch.client import UNKNOWN, Client, Headers, Network
from lockwatch.errors import RequestRefused, TokenError, refusal
from lockwatch.event import Event
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.flows import Outcome
from lockwatch.limits.plan import Plan, make_plan
from lockwatch.limits.policy import Receipt
from lockwatch.tokens.bearer import bearer_token

if TYPE_CHECKING:
    from lockwatch.anomaly.ban import Ban
    from lockwatch.guard import Guard
    from lockwatch.tokens.claims import Claims
    from lockwatch.tokens.requirement import Requirement

CURRENT: Final[ContextVar[Visit | None]] = ContextVar("lockwatch_visit", default=None)
"""The request that runs now, in applications with tokens whose events somebody wants."""
_NOBODY: Final = Client(None, f"ip:{UNKNOWN}", None)
_FAILED: Final = 500


class Visit:
    """What is known and decided about one request.

    Attributes:
        decisions: one `Decision` per policy, in the order they were declared; empty before.
        receipts: what was charged and is still open: reservations, costs to settle, the request in flight.
        actual: what the request cost really; None as long as nobody said so.
        ended: whether its response has ended.
        status: of the response; None before it starts.
        plan: what applied to the request, None before its route is known.
        passed: the limits that were enforced where they stand.
        ban: the ban of its client, when there is one.
        failed: whether the application said that a login failed (or succeeded); None when it said nothing.
        attempt: who tries to log in, where the status of the response will say what became of it.
        believed: what the tokens say that the route requires, by requirement.
        refusal: code of the error it was refused with, empty for none.
    """

    # Defaults stand on the class: one is made for every request, and most keep most of them.
    guard: Guard
    decisions: tuple[Decision, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    passed: tuple[object, ...] = ()
    status: int | None = None
    actual: int | None = None
    ended = False
    refusal = ""
    plan: Plan | None = None
    ban: Ban | None = None
    failed: bool | None = None
    attempt: str | None = None
    believed: Mapping[Requirement, Claims | None] = MappingProxyType({})
    _token: Claims | None = None
    _read = False
    _gone = False
    _client: Client | None = None
    _made: str | None = None

    @property
    def request(self) -> Any:
        """The request as functions of the application take it."""
        raise NotImplementedError

    @property
    def method(self) -> str:
        """The method of the request, ``WEBSOCKET`` for a handshake."""
        raise NotImplementedError

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        raise NotImplementedError

    def headers(self, name: bytes) -> list[str]:
        """All headers of that lower-case name."""
        raise NotImplementedError

    def _peer(self) -> tuple[str | None, Headers, bool]:
        """Who connected, what the headers say, and whether a server has put a forwarded address in the place of the peer."""
        raise NotImplementedError

    def _said(self, name: str) -> Any:
        """What the application has noted under a name: `request.state`, `g`."""
        raise NotImplementedError

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

    def started(self, status: int) -> None:
        """A response starts: its status decides reservations, and what it costs to be turned away."""
        self.status = status
        if self.failed is None and (self.attempt is not None or self.guard.infers):
            self._infer(status)
        if self.receipts:
            self.conclude(ended=False)
        if status in (401, 403) and self.plan is not None and any(s.declaration.role == "look" for s in self.plan.steps):
            self.guard.admission.charge_failure(self)

    def _infer(self, status: int) -> None:
        """Whether somebody logged in, where the application did not say."""
        logins = self.guard.engine.logins
        if self.attempt is not None or (self.plan is not None and self.plan.scope in logins.routes):
            logins.infer(self, status)

    def conclude(self, ended: bool) -> None:
        """Settle what the response decides, without waiting."""
        self.ended = ended
        settlement = self.guard.admission.settlement
        self.receipts = settlement.conclude(self.receipts, self.status or _FAILED, ended, self.actual, self.failed)

    def end(self) -> None:
        """Conclude, and let go of the request, which holds this visit: a cycle would keep the whole request until the garbage
        collector runs.
        """
        if self.receipts:
            self.conclude(ended=True)
        self._gone = True

    def cost_really(self, actual: int) -> None:
        """What `settle` does in either colour. Raises: LookupError, ValueError."""
        if not isinstance(actual, int) or isinstance(actual, bool) or actual < 0:
            raise ValueError(f"the real cost is a whole number of at least 0, not {actual!r}")
        if self.plan is not None and not self.plan.exempt and not self.plan.has_costs:
            raise LookupError(
                "no limit of this route has a cost to settle; declare one with cost=, like RateLimit(..., cost=estimate)"
            )
        self.actual = actual
        if self.ended and self.receipts:
            self.conclude(ended=True)

    def plan_by_hand(self, limits: Any, key: Any, cost: int, name: str) -> Plan:
        """The plan of a limit that is charged by hand on the route of this request. Raises: ConfigurationError."""
        method, _, template = (self.plan.scope if self.plan is not None else "").partition(":")
        return make_plan((Declaration(limits, key=key, cost=cost, name=name),), method, template)

    def plan_of_login(self, limits: Any, pair: str) -> Plan:
        """The plan of a limit that failed log-ins fill, on the route of this request. Raises: ConfigurationError."""
        method, _, template = (self.plan.scope if self.plan is not None else "").partition(":")
        declared = Declaration(limits, key=lambda _: pair, count="failures", name="login-attempts")
        return make_plan((declared,), method, template, self.guard.engine.config.on_redis_failure)

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
            if self._gone:
                return _NOBODY
            engine = self.guard.engine
            self._client = engine.clients.resolve(*self._peer())
            if self._client.warning is not None:
                engine.warn(self._client.warning)
        return self._client

    def comes_from(self, networks: Sequence[Network]) -> bool:
        """Whether the client's address is in one of `networks`."""
        address = self.client.address
        return address is not None and any(address in network for network in networks)

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of the request's token; without one that verifies, what the application notes as `claims`."""
        if self.guard.engine.identity is not None and (token := self.token) is not None:
            return token
        claims = self._said("claims")
        return claims if isinstance(claims, Mapping) else None

    @property
    def user(self) -> str | None:
        """Who it is: what `LockWatch(user=...)` says, else the subject of the token, else the `user_id` the application notes."""
        engine = self.guard.engine
        user = engine.config.user(self.request) if engine.config.user is not None else None
        if not user and engine.identity is not None and (token := self.token) is not None:
            return engine.identity.subject(token)
        user = user or self._said("user_id")
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

    @property
    def trusted(self) -> Claims | None:
        """The claims of a token that was looked at already."""
        return self._token

    def known_user(self) -> str | None:
        """`user`, without looking at a token that nobody has asked for."""
        read, self._read = self._read, True
        try:
            return self.user
        finally:
            self._read = read

    def tenant(self) -> str | None:
        """Whose request it is, as `LockWatch(tenant=...)` says."""
        asked = self.guard.engine.config.tenant
        return None if asked is None else str(asked(self.request))

    @property
    def request_id(self) -> str:
        """What the request is called in the audit log: its ``X-Request-ID`` where that is sane, else a name of ours, for a
        decided request the id of the decision.
        """
        return request_id_of(self.header(b"x-request-id")) or self.made_id

    @property
    def made_id(self) -> str:
        """The name of ours."""
        if self._made is None:
            self._made = self.decisions[0].id if self.decisions else self.guard.admission.ids.next()
        return self._made

    def trust(self, claims: Claims | None) -> None:
        """Note whose request this is; None for nobody's, whatever its headers say."""
        self._token, self._read = claims, True


def attribute(event: Event) -> None:
    """Note on an event who sent the request that runs now, if one does."""
    visit = CURRENT.get()
    if visit is None:
        return
    client = visit.client
    event.ip = None if client.address is None else str(client.address)
    event.peer, event.subject, event.user_agent = client.peer, client.subject, visit.header(b"user-agent")
    event.ip_source = "peer" if event.ip is None or client.peer in (None, event.ip) else "proxy"
    event.request_id = visit.request_id
