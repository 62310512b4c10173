"""What `requests` measures: applications, how they are configured, and what each is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PLENTY: Final = "1000000/minute"
BARE: Final = "bare FastAPI"
BARE_PARAMETER: Final = "bare FastAPI, /items/{number}"


@dataclass(frozen=True, slots=True)
class Variant:
    """One measured application.

    Attributes:
        name: its row in the table.
        environment: a key of `environments.WANTED`.
        app: a module of `apps/`.
        place: where lockwatch's limit stands: ``none``, ``route`` or ``application``.
        limit: amount and unit.
        redis: whether it counts on Redis.
        path: what is requested.
        against: the variant whose requests per second are 1.
        refuses: every measured answer is a 429.
        shows: whether each request shows a token, which ``/token`` gives.
        log: where the audit log goes: ``postgres``, ``sqlite`` or nowhere; where it goes anywhere, bursts are looked for too.
        remembers: whether tokens that were verified are remembered for a while.
        limits: how many limits the route has, all of them plenty.
        workers: how many processes serve.
    """

    name: str
    environment: str
    app: str
    place: str = "route"
    limit: str = PLENTY
    redis: bool = False
    path: str = "/ping"
    against: str = BARE
    refuses: bool = False
    shows: bool = False
    log: str = ""
    remembers: bool = True
    limits: int = 1
    workers: int = 1

    @property
    def counts(self) -> bool:
        """Whether it has a limit whose working can be proven."""
        return self.app not in ("bare", "noop", "flask_bare") and self.place != "none"

    @property
    def forks(self) -> bool:
        """Whether the server has a worker of its own: gunicorn, for Flask."""
        return self.app.startswith("flask_")


ALL: Final = (
    Variant(BARE, "ours", "bare"),
    Variant(BARE_PARAMETER, "ours", "bare", path="/items/7", against=BARE_PARAMETER),
    Variant("no-op dependency", "ours", "noop"),
    Variant("lockwatch, no limit", "ours", "ours", place="none"),
    Variant("lockwatch, Depends(RateLimit), memory", "ours", "ours"),
    Variant("lockwatch, Depends(RateLimit), Redis", "ours", "ours", redis=True),
    Variant("lockwatch, application_limits, memory", "ours", "ours", place="application"),
    Variant("lockwatch, application_limits, Redis", "ours", "ours", place="application", redis=True),
    Variant("lockwatch, Depends on /items/{number}, memory", "ours", "ours", path="/items/7", against=BARE_PARAMETER),
    Variant("lockwatch, Depends on /items/{number}, Redis", "ours", "ours", path="/items/7", against=BARE_PARAMETER, redis=True),
    Variant("lockwatch, Depends, memory, all refused", "ours", "ours", limit="1/hour", refuses=True),
    Variant("lockwatch, Depends, Redis, all refused", "ours", "ours", limit="1/hour", refuses=True, redis=True),
    Variant("lockwatch, application_limits, memory, all refused", "ours", "ours", "application", "1/hour", refuses=True),
    Variant("lockwatch, application_limits, Redis, all refused", "ours", "ours", "application", "1/hour", refuses=True, redis=True),
    Variant("lockwatch, limit and token, Redis", "ours", "everything", redis=True, shows=True),
    Variant(
        "lockwatch, limit and token, Redis, no token remembered", "ours", "everything", redis=True, shows=True, remembers=False
    ),
    Variant("lockwatch, everything on", "ours", "everything", redis=True, shows=True, log="postgres"),
    Variant(
        "lockwatch, everything on, no token remembered",
        "ours",
        "everything",
        redis=True,
        shows=True,
        log="postgres",
        remembers=False,
    ),
    Variant("slowapi, memory", "slowapi", "with_slowapi"),
    Variant("slowapi, Redis", "slowapi", "with_slowapi", redis=True),
    Variant("slowapi, memory, all refused", "slowapi", "with_slowapi", limit="1/hour", refuses=True),
    Variant("fastapi-limiter, memory", "fastapi-limiter", "with_fastapi_limiter"),
    Variant("lockwatch 0.1.0, limit and burst, Redis", "lockwatch-0.1", "seed", redis=True),
    Variant("fastapi-guard, limit only, Redis", "fastapi-guard", "with_fastapi_guard", redis=True),
)


def chosen(words: tuple[str, ...], listed: tuple[Variant, ...] = ALL) -> tuple[Variant, ...]:
    """The variants whose names contain one of `words` (all when there are none), and what they are compared with."""
    wanted = [v for v in listed if not words or any(word.lower() in v.name.lower() for word in words)]
    needed = {v.against for v in wanted} | {v.name for v in wanted}
    return tuple([v for v in listed if v.name in needed])
