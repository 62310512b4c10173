"""Sessions: logins that refresh tokens keep alive, as flows. Pure: clock and random bytes are arguments.

Every step is one atomic script on the keys of one subject, which share a slot on Redis Cluster. So nothing can come between a check
and its consequence: two refreshes of one token, a refresh and a revocation, a login and the revocation of all logins.

A refresh token is used up by its first use (RFC 9700, section 4.14.2). Within the grace, whoever holds it gets the same successor
again, byte for byte: it is kept sealed with the token before it. After the grace, a used token means that two parties hold copies,
and the session ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Flow, Reply, words_of
from lockwatch.tokens.entropy import Random
from lockwatch.tokens.failover import Kept, RecentRevocations, Spool, Watches
from lockwatch.tokens.names import TAG, Names, tag_in, tag_of
from lockwatch.tokens.outcomes import Grant, Issued, Outcome, Reason, Revocation, Rotation, Session, Standing
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.refresh import FOLLOWING, NO_PARENT, SECRET, Format, RefreshToken, hash_of
from lockwatch.tokens.sealing import NONCE, NONE, Sealer, encoded

_SECOND: Final = 1_000_000
_FAMILY: Final = 12
_ORIGIN_LIFETIME: Final = 400 * 86_400 * _SECOND
_ASK, _HEAL, _NEVER = 0, 1, 2
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}
_AHEAD: Final = int(Outcome.AHEAD)
_REASONS: Final = {int(reason): reason for reason in Reason}


class Sessions:
    """The sessions of one application.

    Args:
        names: what things are called in the store.
        sealer: opens and closes what the store keeps.
        format: how refresh tokens are written.
        policy: how long sessions live.
        spool: where revocations wait to be said again.
    """

    def __init__(self, names: Names, sealer: Sealer, format: Format, policy: SessionPolicy, spool: Spool | None = None) -> None:  # noqa: A002
        self.policy = policy
        self.watch = Watches()
        self.spool: Spool = RecentRevocations() if spool is None else spool
        self._names, self._sealer, self._format = names, sealer, format
        self._idle, self._absolute, self._grace = _us(policy.idle), _us(policy.absolute), _us(policy.grace)
        self._tombstone = _us(policy.tombstone)

    def renew(self, sealer: Sealer, format: Format) -> None:  # noqa: A002
        """Seal and write with other secrets from now on."""
        self._sealer, self._format = sealer, format

    def session_of(self, subject: str, entropy: bytes) -> str:
        """What `issue` will call the session that it begins."""
        return self._sealer.tags(subject)[0] + encoded(entropy[:_FAMILY])

    def issue(self, grant: Grant, now: float, entropy: bytes, device: Mapping[str, str] | None = None) -> Flow[Issued]:
        """Begin a session. Raises: StoreError."""
        random, session = Random(entropy, _FAMILY), self.session_of(grant.subject, entropy)
        tag, family = session[:TAG], session[TAG:]
        yield from self._attend(self._names.origin(tag), now)
        text = self._format.write(RefreshToken(tag, family, 0, NO_PARENT, encoded(random.take(SECRET))), now)
        sealed = self._sealer.close_grant(grant, session, random.take(NONCE))
        words = (family, hash_of(text), sealed, self._sealer.close_device(device, session, random.take(NONCE)))
        policy = self.policy
        numbers = (0, self._idle, self._absolute, policy.max_sessions, policy.when_full == "evict", self._tombstone)
        reply = yield from self._heard(Call("issue", (self._names.sessions(tag),), numbers, words=words))
        outcome, left = Outcome(reply[0]), reply[1] / _SECOND
        if outcome is Outcome.FULL:
            return Issued(outcome)
        return Issued(outcome, text, session, left, tuple([tag + evicted for evicted in words_of(reply)]))

    def read(self, text: object, now: float) -> RefreshToken | None:
        """What a refresh token says, without using it; None for one that is none of ours. The store is not asked."""
        return self._format.read(text, now)

    def rotate(self, text: str, now: float, entropy: bytes, device: Mapping[str, str] | None = None) -> Flow[Rotation]:
        """Use a refresh token. A token that is none of ours never reaches the store. Raises: StoreError."""
        token = self._format.read(text, now)
        if token is None:
            return Rotation(Outcome.UNKNOWN)
        origin = self._names.origin(token.tag)
        watch = self.watch[origin]
        if watch.due(now):
            yield from self._attend(origin, now)
        random, own = Random(entropy), hash_of(text)
        successor = self._format.follow(token, text, own, random.take(FOLLOWING), now)
        seen = self._sealer.close_device(device, token.session, random.take(NONCE)) if device else NONE
        words = (token.family, own, token.parent, successor.hash, successor.seal if self._grace else NONE, seen)
        try:
            reply = yield self._rotate(token, words, _ASK)
            if reply[0] == _AHEAD:
                watch.doubt()
                yield from self._attend(origin, now)
                reply = yield self._rotate(token, words, _HEAL if watch.heals(now) else _NEVER)
        except StoreError:
            self.watch.doubt()
            raise
        return self._rotation(token, text, successor.text, reply)

    def standing(self, session: str | None, jti: str, on_store_error: str = "deny") -> Flow[Standing]:
        """Whether an access token is still believed: one call, on the keys of one subject.

        Args:
            session: its `sid`; None for a token that belongs to no session.
            jti: its `jti`.
            on_store_error: ``deny`` raises, ``allow`` believes it.

        Raises: StoreError, with ``deny``.
        """
        call = self.standing_call(session, jti)
        if call is None:
            return Standing(Outcome.UNKNOWN)
        try:
            reply = yield call
        except StoreError:
            if on_store_error == "allow":
                return Standing(Outcome.LIVE, degraded=True)
            raise
        return read_standing(reply)

    def standing_call(self, session: str | None, jti: str) -> Call | None:
        """The call of `standing`; None for a session that is none of ours."""
        if session is None:
            return Call("standing", (self._names.denied(jti),), (0,))
        tag = tag_of(session)
        if tag is None:
            return None
        return Call("standing", (self._names.denied(jti), self._names.sessions(tag)), (0,), words=(session[len(tag) :],))

    def revoke(self, session: str, now: float, reason: Reason = Reason.REVOKED, wait: float = 0.0) -> Flow[Revocation]:
        """End one session: its refresh token and every access token of it.

        Args:
            session: its `sid`.
            now: epoch seconds.
            reason: what to remember of it.
            wait: seconds to wait for a replica to have it too.

        Raises: StoreError. The revocation is then said again as soon as the store answers.
        """
        tag = tag_of(session)
        if tag is None:
            return Revocation()
        family = session[len(tag) :]
        keys = (self._names.sessions(tag), self._names.seal(tag, family))
        return (yield from self._revoke((Call("revoke", keys, self._why(reason), words=(family,), wait=_ms(wait)),), now))

    def revoke_token(self, text: str, now: float, wait: float = 0.0) -> Flow[Revocation]:
        """End the session of a refresh token, used or not (RFC 7009, section 2.1). Raises: StoreError."""
        token = self._format.read(text, now)
        return Revocation() if token is None else (yield from self.revoke(token.session, now, wait=wait))

    def revoke_subject(self, subject: str, now: float, reason: Reason = Reason.SUBJECT, wait: float = 0.0) -> Flow[Revocation]:
        """End all sessions of a subject that began until now. Raises: StoreError."""
        calls = [
            Call("revoke", (self._names.sessions(tag),), self._why(reason), wait=_ms(wait)) for tag in self._sealer.tags(subject)
        ]
        return (yield from self._revoke(calls, now))

    def deny(self, jti: str, lifetime: float, now: float, wait: float = 0.0) -> Flow[Revocation]:
        """Believe one access token no more, for as long as it lives. Raises: StoreError."""
        call = Call("deny", (self._names.denied(jti),), (0, _us(lifetime)), wait=_ms(wait))
        return (yield from self._revoke((call,), now))

    def listed(self, subject: str, now: float) -> Flow[tuple[Session, ...]]:
        """The sessions of a subject that live, the one unused longest first. Raises: StoreError."""
        found: list[Session] = []
        for tag in self._sealer.tags(subject):
            reply = yield Call("sessions", (self._names.sessions(tag),), (0,))
            found += self._sessions(tag, reply, now)
        return tuple(found)

    def _rotate(self, token: RefreshToken, words: tuple[str, ...], healing: int) -> Call:
        keys = (self._names.sessions(token.tag), self._names.seal(token.tag, token.family))
        numbers = (0, token.generation, self._grace, self.policy.max_replays, self._idle, self._tombstone, healing)
        return Call("rotate", keys, numbers, words=words)

    def _rotation(self, token: RefreshToken, text: str, successor: str, reply: Reply) -> Rotation:
        """What the caller learns; the words of a reply are there only for a session that was found alive."""
        told, why, generation, since, left = reply
        outcome, session = _OUTCOMES[told], token.session
        grant, device, seal = words_of(reply) or (NONE, NONE, NONE)
        opened = None if grant == NONE else self._sealer.open_grant(grant, session)
        numbers = (session, generation, since / _SECOND, left / _SECOND, _REASONS[why])
        if not outcome.renewed:
            return Rotation(outcome, "", opened, *numbers, self._sealer.open_device(device, session))
        following = text if outcome is Outcome.FRESH else successor
        if outcome is Outcome.REPLAY:
            following = self._format.again(token, text, seal) or ""
        if opened is None or not following:
            return Rotation(Outcome.UNKNOWN, session=session)  # sealed with a secret that is gone
        return Rotation(outcome, following, opened, *numbers)

    def _sessions(self, tag: str, reply: Reply, now: float) -> list[Session]:
        numbers, words = iter(reply), iter(words_of(reply))
        return [
            Session(
                tag + family,
                now - age / _SECOND,
                now - idle / _SECOND,
                now + left / _SECOND,
                generation,
                self._sealer.open_device(device, tag + family),
            )
            for age, idle, left, generation, family, _, device in zip(
                numbers, numbers, numbers, numbers, words, words, words, strict=False
            )
        ]

    def _why(self, reason: Reason) -> tuple[int, ...]:
        return (0, reason, self._tombstone, 0)

    def _revoke(self, calls: Sequence[Call], now: float) -> Flow[Revocation]:
        """Tell the store, and remember what was said to say it again. Every call is made, also when one fails."""
        found: list[str] = []
        durable: bool | None = None
        failure: StoreError | None = None
        for call in calls:
            kept = Kept(call._replace(wait=0), now, False)
            self.spool.keep(kept)
            try:
                reply = yield call
            except StoreError as error:
                failure = error
                continue
            self._settle(kept, reply)
            found += [tag_in(call.keys[0]) + family for family in words_of(reply)]
            if call.wait:
                durable = durable is not False and reply[-1] > 0
        if failure is not None:
            self.watch.doubt()
            raise failure
        return Revocation(tuple(found), durable)

    def _settle(self, kept: Kept, reply: Reply) -> None:
        """What was revoked is named from now on: sessions that begin later are not meant."""
        families = words_of(reply)
        named = kept.call if kept.call.script == "deny" else kept.call._replace(words=families) if families else None
        self.spool.settle(kept, named and Kept(named, kept.at, True))

    @property
    def owes(self) -> bool:
        """Whether something waits to be said to a server that may not have heard it."""
        return len(self.spool) > 0 and self.watch.doubted

    def attend(self, now: float) -> Flow[None]:
        """Say again what waits, to every server that may not have heard it. Raises: StoreError."""
        for origin in dict.fromkeys([self._origin(kept.call) for kept in self.spool.due(now)]):
            yield from self._attend(origin, now)

    def _attend(self, origin: str, now: float) -> Flow[None]:
        """Every minute and after every failure: see whether the server is still the one it was, and if not, revoke again."""
        if not self.watch[origin].due(now):
            return
        reply = yield from self._heard(Call("origin", (origin,), (0, _ORIGIN_LIFETIME, int(now * _SECOND))))
        if self.watch.learn(origin, reply, now):
            for kept in self.spool.due(now):
                if self._origin(kept.call) == origin:
                    self._settle(kept, (yield from self._heard(kept.again(now))))

    def _heard(self, call: Call) -> Flow[Reply]:
        try:
            return (yield call)
        except StoreError:
            self.watch.doubt()
            raise

    def _origin(self, call: Call) -> str:
        return self._names.origin(tag_in(call.keys[0]))


def read_standing(reply: Reply) -> Standing:
    """What a reply to `standing` says."""
    return Standing(_OUTCOMES[reply[0]], _REASONS[reply[1]])


def _us(seconds: float) -> int:
    return round(seconds * _SECOND)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
