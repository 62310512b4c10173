"""How third parties write access tokens: their types, audiences, scopes and roles, and how their ID tokens are told apart.

An ID token says who logged in, to the client that asked. It is no permission to call an API, and it is refused wherever it can be
told: by what only an ID token has, or by the lack of what every access token of that party has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.claims import Names, names, standard_audience, standard_roles, standard_scopes, words

_NEVER_ACCESS: Final = frozenset({"at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens, and of logout and other event tokens (RFC 8417)."""
_OF_ACCESS: Final = frozenset({"scope", "scp", "client_id", "cid"})


@dataclass(frozen=True, slots=True)
class Habits:
    """What the access tokens of one party look like, and where its keys are."""

    types: frozenset[str]
    is_access: Callable[[Mapping[str, Any], str], bool]
    jwks_url: Callable[[str], str] | None
    audience_of: Callable[[Mapping[str, Any]], object] = standard_audience
    scopes_of: Names = standard_scopes
    roles_of: Names = standard_roles


def _below(path: str) -> Callable[[str], str]:
    return lambda issuer: issuer.rstrip("/") + path


def _plain(values: Mapping[str, Any], kind: str) -> bool:
    """RFC 9068 types its access tokens; without that type they have to have what an ID token has not."""
    if kind == "at+jwt":
        return True
    return not (_NEVER_ACCESS | {"nonce"}) & values.keys() and bool(_OF_ACCESS & values.keys()) and values.get("token_use") != "id"


def _auth0(values: Mapping[str, Any], kind: str) -> bool:
    told = {"scope", "permissions", "gty", "client_id"} & values.keys()
    return kind == "at+jwt" or (bool(told) and not (_NEVER_ACCESS | {"nonce"}) & values.keys())


def _auth0_scopes(values: Mapping[str, Any]) -> frozenset[str]:
    return standard_scopes(values) | (words(values["permissions"]) if "permissions" in values else frozenset())


def _keycloak(values: Mapping[str, Any], _: str) -> bool:
    return values.get("typ") == "Bearer"


def _keycloak_roles(values: Mapping[str, Any]) -> frozenset[str]:
    """Roles of the realm by name, those of a client as ``client:role``."""
    found = set(_roles_in(values.get("realm_access")))
    clients = values.get("resource_access")
    for client, access in clients.items() if isinstance(clients, dict) else ():
        found.update(f"{client}:{role}" for role in _roles_in(access))
    return frozenset(found)


def _roles_in(access: object) -> frozenset[str]:
    return names(access.get("roles")) if isinstance(access, dict) else frozenset()


def _entra(values: Mapping[str, Any], _: str) -> bool:
    return bool({"azp", "appid"} & values.keys()) and not (_NEVER_ACCESS | {"nonce"}) & values.keys()


def _entra_jwks(issuer: str) -> str:
    parts = urlsplit(issuer)
    segments = parts.path.strip("/").split("/")
    if len(segments[0]) != 36:
        raise ConfigurationError(
            f"issuer {issuer!r} names no tenant; a correct one is 'https://login.microsoftonline.com/TENANT-ID/v2.0', with the id"
        )
    if parts.hostname == "sts.windows.net":
        return f"https://login.microsoftonline.com/{segments[0]}/discovery/keys"
    return f"{parts.scheme}://{parts.netloc}/{segments[0]}/discovery/{'v2.0/' if 'v2.0' in segments else ''}keys"


def _cognito(values: Mapping[str, Any], _: str) -> bool:
    return values.get("token_use") == "access"


def _cognito_audience(values: Mapping[str, Any]) -> object:
    """The app client: Cognito's access tokens have no `aud` unless the client asked for a resource."""
    return values["aud"] if "aud" in values else values.get("client_id")


def _cognito_roles(values: Mapping[str, Any]) -> frozenset[str]:
    return names(values["cognito:groups"]) if "cognito:groups" in values else frozenset()


def _okta(values: Mapping[str, Any], _: str) -> bool:
    return "cid" in values and not (_NEVER_ACCESS | {"nonce"}) & values.keys()


def _okta_jwks(issuer: str) -> str:
    if "/oauth2/" not in urlsplit(issuer).path + "/":
        raise ConfigurationError(
            f"issuer {issuer!r} is Okta's own server, whose tokens only Okta can verify; "
            "a correct one is 'https://example.okta.com/oauth2/default'"
        )
    return issuer.rstrip("/") + "/v1/keys"


def _scp(values: Mapping[str, Any]) -> frozenset[str]:
    return words(values["scp"]) if "scp" in values else frozenset()


def _okta_roles(values: Mapping[str, Any]) -> frozenset[str]:
    return names(values["groups"]) if "groups" in values else frozenset()


_UNTYPED: Final = frozenset({"", "jwt", "at+jwt"})
PLAIN: Final = Habits(_UNTYPED, _plain, None, scopes_of=lambda values: standard_scopes(values) | _scp(values))
PRESETS: Final[Mapping[str, Habits]] = {
    "auth0": Habits(frozenset({"jwt", "at+jwt"}), _auth0, _below("/.well-known/jwks.json"), scopes_of=_auth0_scopes),
    "keycloak": Habits(frozenset({"jwt", "at+jwt"}), _keycloak, _below("/protocol/openid-connect/certs"), roles_of=_keycloak_roles),
    "entra": Habits(frozenset({"jwt", "at+jwt"}), _entra, _entra_jwks, scopes_of=_scp),
    "cognito": Habits(
        frozenset({"", "jwt", "at+jwt"}),
        _cognito,
        _below("/.well-known/jwks.json"),
        audience_of=_cognito_audience,
        roles_of=_cognito_roles,
    ),
    "okta": Habits(_UNTYPED, _okta, _okta_jwks, scopes_of=_scp, roles_of=_okta_roles),
}
