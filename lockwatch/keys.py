"""Key functions: whom a request is counted against.

A key function takes the request and returns the subject as text; ``None`` or ``""`` means the client address. What the ones here
return begins with its kind (``ip:``, ``user:``, ``key:``), so that a user named like an address cannot fill that address's bucket.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Final, Literal, Protocol, TypeAlias, overload

from lockwatch.client import Client
from lockwatch.errors import ConfigurationError

Subject: TypeAlias = "str | int | None"
Key: TypeAlias = "Callable[[Any], Subject | Awaitable[Subject]]"
MAX_BODY: Final = 65_536
"""Bytes of a body that `by_json` and `by_form` read at most."""
_TOO_LONG: Final = "body:too-long"


class Visit(Protocol):
    """What lockwatch knows of a request, whatever the framework: `request.state.lockwatch`, `g.lockwatch`."""

    @property
    def client(self) -> Client:
        """Who sent it."""

    @property
    def user(self) -> str | None:
        """Whom the application says it is."""

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of its token, None without one."""

    @property
    def request(self) -> Any:
        """The request as functions of the application take it."""

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""


class Body(Protocol):
    """The body of a request, read for a key."""

    @property
    def too_long(self) -> bool:
        """Whether it has more bytes than the key reads."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Its members, as the framework's own parser finds them; empty when it finds none."""


def by_ip(request: Any) -> str:
    """Count by client address (an IPv6 client by its /64)."""
    return visit_of(request).client.subject


def by_user(request: Any) -> str:
    """Count by user: what `LockWatch(user=...)` says, else `request.state.user_id`; anonymous requests by address."""
    visit = visit_of(request)
    user = visit.user
    return f"user:{user}" if user else visit.client.subject


@overload
def by_api_key(request: Any) -> str: ...
@overload
def by_api_key(*, verify: Callable[[str], Any]) -> VerifiedKey: ...
def by_api_key(request: Any = None, *, verify: Callable[[str], Any] | None = None) -> Any:
    """Count by `X-API-Key`, else by bearer value; requests without either by address.

    ``by_api_key(verify=find)`` is the safe form: `find` takes the key and returns its owner (text or a number), True for a key
    that is good, or None. Without it a key is whatever the caller makes up, so its address is charged too, at ten times the quota.
    """
    if verify is not None:
        return VerifiedKey(verify)
    visit = visit_of(request)
    value = api_key_in(visit)
    return f"key:{value}" if value else visit.client.subject


def by_claim(name: str) -> ClaimKey:
    """Count by a claim of the request's token, such as ``by_claim("plan")``; requests without it by address."""
    return ClaimKey(name)


def by_json(name: str, *, max_bytes: int = MAX_BODY) -> BodyKey:
    """Count by a member of the JSON body, such as ``by_json("email")``; requests without it by address.

    Texts that differ in case, width or surrounding space only are one subject. All bodies longer than `max_bytes` are one.
    """
    return BodyKey("json", name, max_bytes)


def by_form(name: str, *, max_bytes: int = MAX_BODY) -> BodyKey:
    """Count by a field of the form in the body, such as ``by_form("username")``; the rest as for `by_json`."""
    return BodyKey("form", name, max_bytes)


class Prefixed:
    """A key function whose results carry their kind."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class VerifiedKey(Prefixed):
    """`by_api_key` that asks the application whose key it is."""

    verify: Callable[[str], Any] = field(repr=False)

    def __post_init__(self) -> None:
        if not callable(self.verify):
            raise ConfigurationError("by_api_key(verify=...) takes a function of the key, like by_api_key(verify=find_owner)")

    def __call__(self, request: Any) -> Any:
        """The owner, else the address; awaitable when `verify` is."""
        visit = visit_of(request)
        value = api_key_in(visit)
        if not value:
            return visit.client.subject
        owner = self.verify(value)
        return self._later(owner, value, visit) if isawaitable(owner) else _owned(owner, value, visit)

    async def _later(self, owner: Awaitable[Any], value: str, visit: Visit) -> str:
        return _owned(await owner, value, visit)


def _owned(owner: object, value: str, visit: Visit) -> str:
    if owner is True:
        return f"key:{value}"
    if owner is None or owner is False or owner == "":
        return visit.client.subject
    if not isinstance(owner, (str, int)):
        raise TypeError(f"verify returns the owner as a str or an int, True or None, not {type(owner).__name__}")
    return f"owner:{owner}"


@dataclass(frozen=True, slots=True)
class ClaimKey(Prefixed):
    """`by_claim`."""

    name: str

    def __call__(self, request: Any) -> str:
        """The claim, else the address."""
        visit = visit_of(request)
        value = (visit.claims or {}).get(self.name)
        known = isinstance(value, (str, int)) and value != ""
        return f"claim:{self.name}:{value}" if known else visit.client.subject


@dataclass(frozen=True, slots=True)
class BodyKey(Prefixed):
    """`by_json`, `by_form`: decided when the body has been read."""

    kind: Literal["json", "form"]
    name: str
    max_bytes: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError(f"by_{self.kind}({self.name!r}) names no member of the body; a correct one is 'email'")
        if type(self.max_bytes) is not int or not 1 <= self.max_bytes <= 2**30:
            raise ConfigurationError(f"max_bytes={self.max_bytes!r} is not a number of bytes from 1 to {2**30}")

    def __call__(self, request: Any) -> str:
        """Raises: LookupError: a body is read by the edges, not from here."""
        raise LookupError(f"by_{self.kind}({self.name!r}) is decided with the body: use it as the key of a limit")

    def subject(self, body: Body, client: Client) -> str:
        """Whom `body` names, else the address."""
        if body.too_long:
            return _TOO_LONG  # padding must not buy another bucket
        value = body.fields.get(self.name)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            return client.subject
        return f"{self.kind}:{self.name}:{folded(str(value))}"


def folded(text: str) -> str:
    """`text` in the form in which it is compared: width, case and surrounding space do not make another subject."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def is_prefixed(key: object) -> bool:
    """Whether a key function's results carry their kind already."""
    return key is by_ip or key is by_user or key is by_api_key or isinstance(key, Prefixed)


def is_late(key: object) -> bool:
    """Whether a key is decided with the body: a body key, or a FastAPI dependency."""
    return isinstance(key, BodyKey) or hasattr(key, "dependency")


def subject_of(key: object, value: object, client: Client) -> str:
    """The subject that a key function's `value` stands for. Raises: TypeError for a value that is not text or a number."""
    if value is None or value == "":
        return client.subject
    if not isinstance(value, (str, int)):
        raise TypeError(
            f"a key function returns a str, an int or None, not {type(value).__name__} ({getattr(key, '__qualname__', key)})"
        )
    return str(value) if is_prefixed(key) else f"custom:{value}"


def visit_of(request: Any) -> Visit:
    """The visit of a request of either framework. Raises: LookupError when lockwatch has not seen the request."""
    scope = getattr(request, "scope", None)
    if not isinstance(scope, dict):
        scope = getattr(request, "environ", None)  # of a Flask request
    visit: Visit | None = scope.get("lockwatch") if isinstance(scope, dict) else getattr(request, "lockwatch", None)
    if visit is None:
        raise LookupError("this request did not pass lockwatch: call the key function from a limit, or install LockWatch(app)")
    return visit


def api_key_in(visit: Visit) -> str | None:
    """The API key of a request: `X-API-Key`, else the bearer value."""
    return visit.header(b"x-api-key") or _bearer(visit.header(b"authorization"))


def _bearer(authorization: str | None) -> str | None:
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None
