"""What stands at the doors of one application, whatever the framework: which plan applies, and what it says about a request.

The steps are flows: an edge drives them in its own colour. Pure but for the clock in what they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError, RequestRefused, TokenError
from lockwatch.flow import Steps
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import EXEMPT, Plan, Step, make_plan

if TYPE_CHECKING:
    from lockwatch.doorkeeper import Doorkeeper
    from lockwatch.inspection import Inspector
    from lockwatch.tokens.requirement import Access
    from lockwatch.visit import Visit

Refused: TypeAlias = RequestRefused | TokenError
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "WEBSOCKET"})


class Guard:
    """The engine at one application's doors.

    Attributes:
        general: whether anything stands before every route.
        exempts: whether any path is exempt.
        inspector: asks for tokens; None where nobody's are believed.
        doorkeeper: knows the banned; None where nobody may be.
        infers: whether the status of some routes says who logged in.
        asks_nobody: whether a plain plan is one for whoever comes: no tenants, no exempt networks.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.admission = engine.admission
        self.general = bool(engine.application or engine.defaults)
        exempt = engine.config.exempt_paths
        self.exempts = bool(exempt)
        self._exempt = frozenset(p for p in exempt if not p.endswith("*"))
        self._exempt_prefixes = tuple([p[:-1] for p in exempt if p.endswith("*")])
        self.inspector = _inspector(engine)
        self.doorkeeper = _doorkeeper(engine)
        self.infers = bool(engine.logins.routes)
        self.asks_nobody = engine.config.tenant is None and not engine.exempt

    def is_exempt_path(self, path: str) -> bool:
        """Whether a path, as the application knows it, is one of `exempt_paths`."""
        return self.exempts and (path in self._exempt or path.startswith(self._exempt_prefixes))

    def compose(
        self,
        declared: Sequence[Declaration] | None,
        access: Sequence[Access],
        method: str,
        template: str,
        exempt: bool,
    ) -> Plan:
        """What applies to a route, default and application limits included.

        Args:
            declared: what it declares; None when it is exempt from everything.
            access: the tokens it requires.
            method: of the request, as `method_named` has it.
            exempt: its path is one of `exempt_paths`.

        Raises: ConfigurationError.
        """
        if access and self.inspector is None:
            raise ConfigurationError(
                "a token is required, but nobody's tokens are believed; set jwt or issuers, like "
                "LockWatch(app, jwt=JWTConfig(jwt_secret=...))"
            )
        if declared is None:
            return replace(EXEMPT, access=tuple(access)) if access else EXEMPT
        general = () if exempt else self.engine.application
        defaults = () if declared or exempt else self.engine.defaults
        plan = make_plan((*general, *declared, *defaults), method, template, self.engine.config.on_redis_failure)
        return replace(plan, access=tuple(access)) if access else plan

    def applying(self, visit: Visit, plan: Plan) -> Plan:
        """Note on the visit what applies to it: nothing limits who comes from `exempt_networks`."""
        if self.engine.exempt and visit.comes_from(self.engine.exempt):
            plan = replace(EXEMPT, access=plan.access) if plan.access else EXEMPT
        visit.plan = plan
        return plan

    def checking(self, visit: Visit, plan: Plan, buckets: Buckets) -> Steps[Refused | None]:
        """Decide what `plan` says before the body is read, and record it on the visit; the refusal, when there is one."""
        if plan.access and self.inspector is not None:
            return (yield from self.inspector.checking(visit, plan, buckets))
        return visit.record((yield from self.admission.deciding(plan, visit, buckets)))

    def checking_later(
        self, visit: Visit, plan: Plan, steps: Sequence[Step], subject: Callable[[Declaration], str], buckets: Buckets
    ) -> Steps[RequestRefused | None]:
        """Decide some steps of `plan` for subjects that are known by now; a refusal gives back what was charged before it."""
        before = visit.receipts
        taken = [decision.policy for decision in visit.decisions]
        refused = visit.record((yield from self.admission.deciding_later(plan, steps, visit, subject, taken, buckets)))
        if refused is not None and before:
            visit.receipts = ()
            yield from self.admission.settlement.giving_back(before)
        return refused


def method_named(method: str) -> str:
    """The method a bucket is named after: one of HTTP's, WEBSOCKET, or OTHER."""
    return method if method in METHODS else "OTHER"


def _inspector(engine: Engine) -> Inspector | None:
    """Who asks for tokens, where there are any; else nothing of them is imported."""
    if engine.identity is None:
        return None
    from lockwatch.inspection import Inspector

    return Inspector(engine, engine.identity)


def _doorkeeper(engine: Engine) -> Doorkeeper | None:
    """Who knows the banned, where anybody may be."""
    if engine.bans is None:
        return None
    from lockwatch.doorkeeper import Doorkeeper

    return Doorkeeper(engine, engine.bans)
