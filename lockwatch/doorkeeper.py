"""Who is banned is turned away before anything else happens, and nobody is asked for it. The same for both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockwatch.engine import Engine
from lockwatch.errors import Banned, TokenError
from lockwatch.tokens.access_cookie import token_in

if TYPE_CHECKING:
    from lockwatch.anomaly.ban import Ban
    from lockwatch.anomaly.bans import Bans
    from lockwatch.tokens.claims import Claims
    from lockwatch.visit import Visit


class Doorkeeper:
    """Knows the banned at one application's door.

    Args:
        engine: whose tokens are believed.
        bans: who is banned.
    """

    def __init__(self, engine: Engine, bans: Bans) -> None:
        self._engine = engine
        self._bans = bans

    def turned_away(self, visit: Visit) -> Banned | None:
        """The refusal of a request, when its address is banned and no session speaks for it, or the user of its token is."""
        engine = self._engine
        if not engine.link.working:
            engine.link.work()  # an application without limits would never hear of bans
        if not len(self._bans.table) or engine.admission.mode == "off":
            return None
        ban = self._bans.banned(visit.client)
        claims = self._claims(visit) if ban is not None or self._bans.table.has_users else None
        if claims is not None and engine.identity is not None:
            ban = self._bans.user_ban(engine.identity.subject(claims))
        elif ban is not None and self._has_session(visit):
            ban = None
        return self._refusal(visit, ban)

    def user_turned_away(self, visit: Visit) -> Banned | None:
        """The refusal of a request whose user is banned, as the application tells the user."""
        if not self._bans.table.has_users or self._engine.admission.mode == "off" or visit.user is None:
            return None
        return self._refusal(visit, self._bans.user_ban(visit.user))

    def _refusal(self, visit: Visit, ban: Ban | None) -> Banned | None:
        if ban is None:
            return None
        visit.ban = ban
        return Banned(ban.id, ban.seconds) if self._engine.admission.mode == "enforce" else None

    def _claims(self, visit: Visit) -> Claims | None:
        """What the request's token says, be it in a header or a cookie, if it verifies."""
        identity = self._engine.identity
        if identity is None or (token := visit.token) is not None:
            return None if identity is None else token
        try:
            text = token_in(visit.headers(b"cookie"))
            return None if text is None else identity.verify(text)
        except TokenError:
            return None

    def _has_session(self, visit: Visit) -> bool:
        asked = self._bans.settings.has_session
        return asked is not None and bool(asked(visit.request))
