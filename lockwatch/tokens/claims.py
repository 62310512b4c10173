"""What a token says, once its signature is right: which claims are believed, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from lockwatch.errors import TokenError
from lockwatch.flow import Call

LAST_INSTANT: Final = 2**53
Names: TypeAlias = Callable[[Mapping[str, Any]], frozenset[str]]


def words(value: object) -> frozenset[str]:
    """The words of a claim that is a list of texts, or one text with spaces (RFC 8693, section 4.2); of anything else, none."""
    listed = value.split(" ") if isinstance(value, str) else value
    return frozenset([w for w in listed if isinstance(w, str) and w]) if isinstance(listed, list) else frozenset()


def names(value: object) -> frozenset[str]:
    """The texts in a claim that is a list, or the one text it is; of anything else, none. A name may have spaces."""
    return words([value] if isinstance(value, str) else value)


def standard_scopes(values: Mapping[str, Any]) -> frozenset[str]:
    """`scope`, as RFC 9068 has it."""
    return words(values["scope"]) if "scope" in values else frozenset()


def standard_roles(values: Mapping[str, Any]) -> frozenset[str]:
    """`roles`, as RFC 9068 has it."""
    return names(values["roles"]) if "roles" in values else frozenset()


def standard_audience(values: Mapping[str, Any]) -> object:
    """`aud`."""
    return values.get("aud")


class Claims(Mapping[str, Any]):
    """The claims of a verified token, read-only. Changing a list taken from them changes nothing here.

    `claims["exp"]` is the claim as it was sent. Instants are epoch seconds.

    Attributes:
        question: what to ask the store about the token, as long as this is remembered; None until somebody has.
    """

    __slots__ = ("_roles", "_roles_of", "_scopes", "_scopes_of", "_values", "question")

    def __init__(self, values: Mapping[str, Any], scopes_of: Names = standard_scopes, roles_of: Names = standard_roles) -> None:
        self._values, self._scopes_of, self._roles_of = values, scopes_of, roles_of
        self._scopes: frozenset[str] | None = None
        self._roles: frozenset[str] | None = None
        self.question: Call | None = None

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return deepcopy(value) if isinstance(value, list | dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Claims(iss={self._values.get('iss')!r}, jti={self.jti!r})"

    @property
    def subject(self) -> str:
        """Whom the token is about: `sub`."""
        return self._text("sub") or ""

    @property
    def issuer(self) -> str:
        """Who signed it: `iss`."""
        return self._text("iss") or ""

    @property
    def jti(self) -> str | None:
        """Which token this is; a third party may leave it out."""
        return self._text("jti")

    @property
    def family(self) -> str | None:
        """The session it belongs to: `sid`."""
        return self._text("sid")

    @property
    def scopes(self) -> frozenset[str]:
        """What it is good for."""
        if self._scopes is None:
            self._scopes = self._scopes_of(self._values)
        return self._scopes

    @property
    def roles(self) -> frozenset[str]:
        """What its subject is."""
        if self._roles is None:
            self._roles = self._roles_of(self._values)
        return self._roles

    @property
    def expires_at(self) -> float:
        """When it stops being valid: `exp`."""
        return float(self._values["exp"])

    @property
    def issued_at(self) -> float | None:
        """When it was signed: `iat`; a third party may leave it out."""
        return instant(self._values, "iat")

    @property
    def auth_time(self) -> float | None:
        """When its subject logged in; a refresh does not change it."""
        return instant(self._values, "auth_time")

    def _text(self, name: str) -> str | None:
        value = self._values.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token of one issuer and kind has to say. All names are compared exactly.

    Attributes:
        issuer: the one `iss`.
        audiences: one of them has to be in `aud`.
        types: media types of the header's `typ`, in lower case without ``application/``; ``""`` for none.
        algorithms: what may be in the header's `alg` at all; the key then says which one it is.
        leeway: seconds that clocks may differ.
        max_lifetime: seconds from `iat` to `exp` at most.
        required: claims that have to be there, besides `iss`, `aud`, `sub` and `exp`.
        known_headers_only: refuse a header with other members than `alg`, `kid` and `typ`.
        is_access: says of the claims and the type whether this is an access token at all.
    """

    issuer: str
    audiences: frozenset[str]
    types: frozenset[str] = frozenset({"at+jwt"})
    algorithms: frozenset[str] = frozenset({"RS256"})
    leeway: float = 30
    max_lifetime: float = 400 * 86_400
    required: tuple[str, ...] = ("iat", "jti")
    known_headers_only: bool = True
    audience_of: Callable[[Mapping[str, Any]], object] = standard_audience
    scopes_of: Names = standard_scopes
    roles_of: Names = standard_roles
    is_access: Callable[[Mapping[str, Any], str], bool] | None = None


def accept(values: Mapping[str, Any], kind: str, rules: Rules, now: float) -> Claims:
    """The claims of a token of type `kind` whose signature is right, at epoch time `now`.

    Follows RFC 7519, section 4.1, RFC 9068, section 4, and RFC 8725, more strictly than they demand.

    Raises: TokenError.
    """
    if values.get("iss") != rules.issuer:
        raise TokenError("wrong_issuer")
    if not _is_for(rules.audience_of(values), rules.audiences):
        raise TokenError("wrong_audience")
    if rules.is_access is not None and not rules.is_access(values, kind):
        raise TokenError("wrong_type")
    if "cnf" in values:  # bound to a key (RFC 7800) that is not checked here: whoever stole it would pass
        raise TokenError("wrong_type")
    _check_texts(values, rules)
    _check_times(values, rules, now)
    return Claims(values, rules.scopes_of, rules.roles_of)


def is_name(value: object) -> bool:
    """Whether this is a text of 1 to 255 bytes without control characters: it may become part of a store key or a log line."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable() and len(value.encode()) <= 255


def instant(values: Mapping[str, Any], name: str) -> float | None:
    """A claim in epoch seconds; None when it is not there. Raises: TokenError when it is no number, or of no known age."""
    if name not in values:
        return None
    value = values[name]
    if type(value) not in (int, float) or not 0 <= value <= LAST_INSTANT:
        raise TokenError("invalid_claim")
    return float(value)


def _is_for(audience: object, audiences: frozenset[str]) -> bool:
    if isinstance(audience, str):
        return audience in audiences
    if not isinstance(audience, list) or not all(isinstance(one, str) for one in audience):
        return False
    return not audiences.isdisjoint(audience)


def _check_texts(values: Mapping[str, Any], rules: Rules) -> None:
    if not is_name(values.get("sub")) or any(name not in values for name in rules.required):
        raise TokenError("invalid_claim")
    for name in ("jti", "sid"):
        if name in values and not is_name(values[name]):
            raise TokenError("invalid_claim")


def _check_times(values: Mapping[str, Any], rules: Rules, now: float) -> None:
    expires, issued, starts = instant(values, "exp"), instant(values, "iat"), instant(values, "nbf")
    instant(values, "auth_time")
    if expires is None or (issued is not None and not 0 <= expires - issued <= rules.max_lifetime):
        raise TokenError("invalid_claim")
    if now >= expires + rules.leeway:
        raise TokenError("expired")
    latest = now + rules.leeway
    if (issued is not None and issued > latest) or (starts is not None and starts > latest):
        raise TokenError("not_yet_valid")
