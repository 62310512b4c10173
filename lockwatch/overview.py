"""The limits of an application as its operators see them: who used what, why a request is refused, and how to let it through.

Every method is a flow: the edges, the command line among them, run it on a link in their own colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from ipaddress import ip_network

from lockwatch.client import read_address
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.flow import Flow
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import method_of
from lockwatch.limits.explanation import Explained, Explanation, KeyParts, Uncounted, name_of, notes_about, notes_on
from lockwatch.limits.plan import possible
from lockwatch.limits.policy import Charge
from lockwatch.limits.survey import Counted, Route, Usage, counted, counts, forget, peeks, usage, usages
from lockwatch.subjects import KINDS, UNKNOWN, is_counted_by, named


class Overview:
    """The routes of an application and the engine that protects them.

    Args:
        engine: whose settings count.
        routes: every method of every route.
        inner: applications inside that have a `LockWatch` of their own, each by the template it is mounted at.

    Attributes:
        link: where the buckets are; a command puts one of its own in this place.
    """

    def __init__(self, engine: Engine, routes: Iterable[Route], inner: Iterable[tuple[str, Overview]] = ()) -> None:
        self.engine = engine
        self.link = engine.link
        self.routes = tuple(routes)
        self.inner = tuple(inner)

    def usage(self, buckets: Buckets, subjects: Sequence[str], route: str | None = None) -> Flow[tuple[Usage, ...]]:
        """What `subjects` have used of every policy that can count them. Raises: ConfigurationError, StoreError."""
        return usages(self._counted(buckets, subjects, route), self.link.split)

    def reset(self, buckets: Buckets, subjects: Sequence[str], route: str | None = None) -> Flow[int]:
        """Forget what `subjects` have used; how many buckets there were. Raises: ConfigurationError, StoreError."""
        found = [one.charge for one in self._counted(buckets, subjects, route)]
        return forget(found, self.engine.config.namespace, self.link.split)

    def per_request(self, route: str | None = None) -> tuple[str, ...]:
        """The declarations whose limits only a request decides; their buckets cannot be computed here."""
        steps = [(r, s.declaration) for r in self._chosen(route) for s in (*r.plan.steps, *r.plan.later)]
        return tuple(dict.fromkeys(f"{r.name}: {d!r}" for r, d in steps if d.dynamic is not None))

    def names(self, buckets: Buckets, tenant: str | None) -> Buckets:
        """`buckets`, of one tenant where the application has tenants. Raises: ConfigurationError."""
        if self.engine.config.tenant is None:
            if tenant is not None:
                raise ConfigurationError("a tenant was given, but this application has none: LockWatch(app, tenant=...) is not set")
            return buckets
        if tenant is None:
            raise ConfigurationError("this application counts its tenants apart; say which one, like tenant='acme'")
        return buckets.under(tenant)

    def subject(self, text: str) -> str:
        """The subject in a text such as ``ip:203.0.113.7``. Raises: ConfigurationError."""
        kind, colon, value = text.partition(":")
        if not colon or kind not in KINDS or not value:
            # Not quoted: it may be an API key.
            raise ConfigurationError(
                f"a subject is one of {', '.join(f'{kind}:...' for kind in KINDS)}, for example ip:203.0.113.7"
            )
        subject = named(text, self.engine.config.ipv6_prefix)
        if kind == "ip" and subject != UNKNOWN and subject == text and read_address(value.partition("/")[0]) is None:
            raise ConfigurationError("what follows ip: is no address; a correct subject is ip:203.0.113.7 or ip:2001:db8::1")
        return subject

    def route(self, name: str) -> Route:
        """The route called ``GET /items/{id}``. Raises: ConfigurationError, with the nearest one."""
        method, _, template = name.strip().partition(" ")
        wanted = f"{method_of(method)} {template.strip()}"
        found = next((route for route in self.routes if route.name == wanted), None)
        if found is not None:
            return found
        near = get_close_matches(name.strip(), [route.name for route in self.routes], n=1, cutoff=0.4)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"a correct one is {self.routes[0].name!r}" if self.routes else "it has none"
        )
        raise ConfigurationError(f"the application has no route {name[:200]!r} (method and template); {hint}")

    def explain(self, buckets: Buckets, route: str, subjects: Sequence[str], look: bool = True) -> Flow[Explanation]:
        """What a request of `subjects` on `route` would get now, policy by policy.

        Args:
            subjects: the address of the request, and its user or API key if it has one.
            look: ask the store; without, the plan alone is explained.

        Raises: ConfigurationError, StoreError.
        """
        chosen = self.route(route)
        rows = list(self._rows(chosen, sorted(subjects, key=lambda subject: subject.startswith("ip:")), buckets))
        charges = [row.charge for row in rows if isinstance(row, Counted)]
        decisions = iter((yield from peeks(charges, self.link.split)) if look else ())
        policies = tuple([self._explained(row, next(decisions, None)) for row in rows])
        exempt = any(self._is_exempt(subject) for subject in subjects)
        refusing = [p for p in policies if p.refuses] if self.engine.mode == "enforce" and not exempt else []
        waits = [p.usage.retry_after for p in refusing if p.usage is not None]
        return Explanation(
            chosen.name,
            tuple(subjects),
            self.engine.mode,
            self.engine.store_name,
            policies,
            tuple([p.policy for p in refusing]),
            None if None in waits else max([w for w in waits if w is not None], default=0.0),
            notes_on(chosen, self.engine.mode, exempt),
        )

    def _is_exempt(self, subject: str) -> bool:
        """Whether it is an address that nothing is limited for."""
        if not subject.startswith("ip:") or subject == UNKNOWN:
            return False
        network = ip_network(subject[3:])
        return any(network.version == e.version and network.subnet_of(e) for e in self.engine.exempt)  # type: ignore[arg-type]  # one version

    def _rows(self, route: Route, subjects: Sequence[str], buckets: Buckets) -> Iterator[Counted | Uncounted]:
        """The policies of a plan in their order, with the subject each would count."""
        for step in (*route.plan.steps, *route.plan.later):
            d = step.declaration
            main = next((s for s in subjects if is_counted_by(d.key, s)), None)
            if d.dynamic is not None:
                yield Uncounted(route, d, d.name or "(per request)", f"its limits are decided per request, by {name_of(d.dynamic)}")
            for tier, policy in possible(route.plan, step):
                subject = next((s for s in subjects if counts(d, policy, s)), None)
                if policy.by_address and subject == main:
                    continue  # the address is counted as itself already
                if subject is None:
                    yield Uncounted(route, d, policy.name, f"counts {name_of(d.key)}, which says nothing about the subjects given")
                else:
                    cost = d.cost if isinstance(d.cost, int) else 1
                    yield Counted(route, d, tier, subject, Charge(policy, buckets.key(policy, subject), cost))

    def _explained(self, row: Counted | Uncounted, decision: Decision | None) -> Explained:
        d = row.declaration
        origin, counts_by = row.route.origins.get(d, "unknown"), name_of(d.key)
        if isinstance(row, Uncounted):
            return Explained(row.policy, origin, counts_by, None, None, None, False, (row.why,))
        policy = row.charge.policy
        seen = None if decision is None else usage([row], decision)
        allowed = None if decision is None else decision.allowed
        return Explained(
            policy.name,
            origin,
            "by_ip" if policy.by_address else counts_by,
            KeyParts.of(row.charge.key),
            seen,
            allowed,
            allowed is False and not policy.shadow,
            tuple(notes_about(row)),
        )

    def _counted(self, buckets: Buckets, subjects: Sequence[str], route: str | None) -> list[Counted]:
        return list(counted(self._chosen(route), subjects, buckets))

    def _chosen(self, route: str | None) -> tuple[Route, ...]:
        return self.routes if route is None else (self.route(route),)
