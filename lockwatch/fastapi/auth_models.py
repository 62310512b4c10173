"""What OpenAPI says of the endpoints of sessions."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field


class OAuthError(BaseModel):
    """Why there is no token (RFC 6749, section 5.2)."""

    error: Annotated[str, Field(examples=["invalid_grant"])]
    error_description: str = ""


class ListedSession(BaseModel):
    """One session of who asks. Instants are epoch seconds."""

    id: str
    created_at: int
    used_at: int
    expires_at: int
    current: bool
    device: dict[str, str]


class ListedSessions(BaseModel):
    """The sessions of who asks, the one used last first."""

    sessions: list[ListedSession]


class Introspection(BaseModel, extra="allow"):
    """What an access token says, when it is active (RFC 7662, section 2.2)."""

    active: bool


class KeySet(BaseModel):
    """A JSON Web Key Set (RFC 7517, section 5)."""

    keys: list[dict[str, str]]


_MEANINGS: Final = {
    400: "The token is not accepted, or the request cannot be read",
    401: "The access token is not accepted",
    413: "The body is too long",
    429: "The refresh was repeated too often",
    503: "The store does not answer",
}
JSON_BODY: Final = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"refresh_token": {"type": "string"}}}},
        },
    },
}
FORM_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "properties": {"token": {"type": "string"}, "token_type_hint": {"type": "string"}},
                },
            },
        },
    },
}


def answers(status: int, model: Any, *errors: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the answers of a route."""
    fine: dict[str, Any] = {} if model is None else {"model": model}
    return {status: fine, **{error: {"model": OAuthError, "description": _MEANINGS[error]} for error in errors}}
