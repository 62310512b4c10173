"""`JWTAuth`: the token a route requires."""

from inspect import Parameter, Signature
from typing import Final

from fastapi.openapi.models import APIKey, HTTPBearer
from fastapi.openapi.models import SecurityBase as SecurityBaseModel
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from lockwatch.errors import ConfigurationError
from lockwatch.fastapi.checkpoint import Checkpoint
from lockwatch.fastapi.mistakes import unwrapped
from lockwatch.fastapi.refusal import ensure_handled
from lockwatch.fastapi.visit import Visit
from lockwatch.tokens.access_cookie import ACCESS
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.requirement import Access, Requirement

SCHEME: Final = "JWTAuth"
"""What the scheme is called in OpenAPI."""
_PARAMETERS: Final = [
    Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection),
    Parameter("security_scopes", Parameter.POSITIONAL_OR_KEYWORD, annotation=SecurityScopes),
]


class JWTAuth(Requirement, SecurityBase):
    """An access token as a FastAPI dependency: ``claims=Depends(JWTAuth(scopes=["profile"]))``.

    It is checked before the body is read and before any dependency runs, in the same store call as the limits of the route.
    Returns `Claims`, or None without a token where it is `optional`. ``Security(JWTAuth(), scopes=["profile"])`` works too. The
    arguments are those of `Requirement`.
    """

    def _complete(self) -> None:
        self.model: SecurityBaseModel = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = SCHEME
        if self.locations == ("cookie",):
            self.model, self.scheme_name = APIKey.model_validate({"in": "cookie", "name": ACCESS}), f"{SCHEME}Cookie"
        self.__signature__ = Signature(_PARAMETERS)

    @property
    def dependency(self) -> None:
        """What FastAPI asks of `Depends(...)`, and finds here where that was left out. Raises: ConfigurationError."""
        raise unwrapped("JWTAuth")

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> Claims | None:
        """What the token says, checked already or now. Raises: TokenError, ConfigurationError."""
        visit = connection.scope.get("lockwatch")
        if type(visit) is not Visit or not isinstance(visit.guard, Checkpoint):
            raise ConfigurationError("JWTAuth needs LockWatch(app, jwt=JWTConfig(...)), or issuers=[...], on this application")
        ensure_handled(connection.scope)
        if self not in visit.believed:
            await visit.guard.check_alone(visit, self)
        claims = visit.believed[self]
        visit.guard.demand(Access(self, self.demanded(security_scopes.scopes)), claims)
        return claims
