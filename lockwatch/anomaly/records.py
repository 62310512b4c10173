"""What a tally holds: attempts to log in, requests of an address, refresh tokens that were presented again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Login:
    """Attempts of one user name from one address with one client software.

    Attributes:
        network: key of the address's /24 or /48.
        probes: questions about the account that are no login: a reset form.
        at_us: the last of them.
        example: request id of a failure.
    """

    user: bytes
    address: bytes
    network: bytes
    agent: bytes
    failures: int = 0
    successes: int = 0
    probes: int = 0
    at_us: int = 0
    example: str = ""


@dataclass(slots=True)
class Source:
    """Requests of one address; `misses` are those that matched no route, `paths` some of theirs."""

    requests: int = 0
    misses: int = 0
    paths: set[bytes] = field(default_factory=set)
    example: str = ""


@dataclass(slots=True)
class Reuse:
    """A refresh token that was presented again."""

    user: bytes
    session: bytes
    address: bytes
    at_us: int
    example: str = ""
