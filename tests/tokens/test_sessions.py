"""The state machine of a session, over every store: what each token gets, when."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lockwatch.errors import ConfigurationError
from lockwatch.flow import Call
from lockwatch.tokens.outcomes import Outcome, Reason
from lockwatch.tokens.policy import SessionPolicy
from tests.tokens.desk import GRACE, STORES, Desk, make_sessions

DAY = 86_400


@pytest.fixture(params=STORES)
async def desk(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[Desk]:
    made = Desk(request.param, redis_server)
    yield made
    await made.close()


def made(request: pytest.FixtureRequest, **settings: object) -> Desk:
    """A desk with other settings."""
    return Desk(request.getfixturevalue("desk_kind"), request.getfixturevalue("redis_server"), SessionPolicy(**settings))  # type: ignore[arg-type]


@pytest.fixture(params=STORES)
def desk_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


# ------------------------------------------------------------ rotation
async def test_a_new_token_is_rotated_at_once_and_brings_what_the_login_was_good_for(desk: Desk) -> None:
    login = await desk.login("user:42", role="admin")
    found = await desk.refresh(login.refresh_token)
    assert found.outcome is Outcome.ROTATED
    assert found.refresh_token not in ("", login.refresh_token)
    assert found.grant is not None
    assert (found.grant.subject, found.grant.claims, found.grant.auth_time) == ("user:42", {"role": "admin"}, int(desk.clock.now))
    assert (found.session, found.generation) == (login.session, 1)
    await desk.close()


async def test_a_repeated_refresh_within_the_grace_gets_the_same_bytes(desk: Desk) -> None:
    login = await desk.login()
    first = await desk.refresh(login.refresh_token)
    desk.clock.advance(GRACE - 0.000001)
    again = await desk.refresh(login.refresh_token)
    assert again.outcome is Outcome.REPLAY
    assert again.refresh_token == first.refresh_token
    assert again.grant == first.grant


async def test_a_used_token_after_the_grace_ends_the_session_for_everybody(desk: Desk) -> None:
    login = await desk.login()
    current = (await desk.refresh(login.refresh_token)).refresh_token
    desk.clock.advance(GRACE)
    found = await desk.refresh(login.refresh_token)
    assert (found.outcome, found.reason, found.refresh_token) == (Outcome.REUSE, Reason.REUSE_RECENT, "")
    assert found.grant is not None
    assert found.grant.subject == "user:42"
    for token in (login.refresh_token, current):
        after = await desk.refresh(token)
        assert (after.outcome, after.reason, after.grant) == (Outcome.REVOKED, Reason.REUSE_RECENT, None)
    assert await desk.standing(login.session) is Outcome.REVOKED


async def test_a_token_from_further_back_ends_the_session_even_within_the_grace(desk: Desk) -> None:
    first = (await desk.login()).refresh_token
    second = (await desk.refresh(first)).refresh_token
    desk.clock.advance(GRACE)
    await desk.refresh(second)
    found = await desk.refresh(first)
    assert (found.outcome, found.reason) == (Outcome.REUSE, Reason.REUSE_STALE)


async def test_a_fresh_successor_is_echoed_until_the_grace_of_its_rotation_is_over(desk: Desk) -> None:
    login = await desk.login()
    current = (await desk.refresh(login.refresh_token)).refresh_token
    desk.clock.advance(GRACE - 0.000001)
    echoed = await desk.refresh(current)
    assert (echoed.outcome, echoed.refresh_token) == (Outcome.FRESH, current)
    desk.clock.advance(0.000001)
    assert await desk.outcome(current) is Outcome.ROTATED


async def test_without_grace_every_refresh_rotates_and_every_repetition_is_reuse(
    request: pytest.FixtureRequest, desk_kind: str
) -> None:
    desk = made(request, grace=0)
    login = await desk.login()
    second = await desk.refresh(login.refresh_token)
    third = await desk.refresh(second.refresh_token)
    assert (second.outcome, third.outcome) == (Outcome.ROTATED, Outcome.ROTATED)
    assert await desk.outcome(second.refresh_token) is Outcome.REUSE
    await desk.close()


async def test_without_grace_a_clock_that_steps_back_does_not_stop_rotation(request: pytest.FixtureRequest, desk_kind: str) -> None:
    desk = made(request, grace=0)
    second = await desk.refresh((await desk.login()).refresh_token)
    desk.clock.advance(-5)
    assert await desk.outcome(second.refresh_token) is Outcome.ROTATED
    await desk.close()


async def test_repetitions_are_throttled_and_cost_nobody_the_session(request: pytest.FixtureRequest, desk_kind: str) -> None:
    desk = made(request, max_replays=3)
    login = await desk.login()
    current = (await desk.refresh(login.refresh_token)).refresh_token
    found = [await desk.outcome(login.refresh_token) for _ in range(5)]
    assert found == [Outcome.REPLAY] * 3 + [Outcome.THROTTLED] * 2
    assert (await desk.refresh(login.refresh_token)).refresh_token == ""
    assert await desk.outcome(current) is Outcome.FRESH
    await desk.close()


# ------------------------------------------------------------ lifetimes
async def test_a_session_ends_when_it_is_not_refreshed(desk: Desk) -> None:
    login = await desk.login()
    assert login.expires_in == 7 * DAY
    desk.clock.advance(7 * DAY)
    assert await desk.standing(login.session) is Outcome.EXPIRED
    assert await desk.outcome(login.refresh_token) is Outcome.EXPIRED


async def test_refreshing_keeps_a_session_until_its_absolute_end(desk: Desk) -> None:
    token = (await desk.login()).refresh_token
    for day in range(6, 30, 6):
        desk.clock.advance(6 * DAY)
        found = await desk.refresh(token)
        assert (found.outcome, found.expires_in) == (Outcome.ROTATED, min(7, 30 - day) * DAY)
        token = found.refresh_token
    desk.clock.advance(6 * DAY)
    assert await desk.outcome(token) is Outcome.EXPIRED


async def test_a_replay_after_the_end_is_expired_not_reuse(desk: Desk) -> None:
    login = await desk.login()
    await desk.refresh(login.refresh_token)
    desk.clock.advance(7 * DAY)
    assert await desk.outcome(login.refresh_token) is Outcome.EXPIRED


# ------------------------------------------------------------ revocation
async def test_a_revoked_session_gives_nothing_to_anybody(desk: Desk) -> None:
    login, other = await desk.login(), await desk.login()
    current = (await desk.refresh(login.refresh_token)).refresh_token
    revoked = await desk.do(desk.sessions.revoke(login.session, desk.clock.now))
    assert revoked.sessions == (login.session,)
    assert [await desk.outcome(t) for t in (login.refresh_token, current)] == [Outcome.REVOKED] * 2
    assert await desk.standing(login.session) is Outcome.REVOKED
    assert await desk.standing(other.session) is Outcome.LIVE
    assert (await desk.do(desk.sessions.revoke(login.session, desk.clock.now))).sessions == ()


async def test_a_refresh_token_revokes_its_session_used_or_not(desk: Desk) -> None:
    login = await desk.login()
    current = (await desk.refresh(login.refresh_token)).refresh_token
    assert (await desk.do(desk.sessions.revoke_token(login.refresh_token, desk.clock.now))).sessions == (login.session,)
    assert await desk.outcome(current) is Outcome.REVOKED
    assert (await desk.do(desk.sessions.revoke_token("lwr1_forged", desk.clock.now))).sessions == ()


async def test_revoking_a_subject_ends_what_began_before_and_not_what_begins_after(desk: Desk) -> None:
    logins = [await desk.login() for _ in range(3)]
    other = await desk.login("user:43")
    revoked = await desk.do(desk.sessions.revoke_subject("user:42", desk.clock.now))
    later = await desk.login()
    assert set(revoked.sessions) == {login.session for login in logins}
    for login in logins:
        found = await desk.refresh(login.refresh_token)
        assert (found.outcome, found.reason) == (Outcome.REVOKED, Reason.SUBJECT)
        assert await desk.standing(login.session) is Outcome.REVOKED
    for living in (other, later):
        assert await desk.standing(living.session) is Outcome.LIVE
        assert await desk.outcome(living.refresh_token) is Outcome.ROTATED


async def test_revoking_a_subject_needs_no_clock_that_only_goes_forward(desk: Desk) -> None:
    before = await desk.login()
    desk.clock.advance(-3600)
    await desk.do(desk.sessions.revoke_subject("user:42", desk.clock.now))
    assert await desk.standing(before.session) is Outcome.REVOKED
    after = await desk.login()
    assert await desk.standing(after.session) is Outcome.LIVE


async def test_one_access_token_is_denied_and_its_session_lives(desk: Desk) -> None:
    login = await desk.login()
    jti = login.session[:16] + "x" * 16
    await desk.do(desk.sessions.deny(jti, 900, desk.clock.now))
    assert await desk.standing(login.session, jti) is Outcome.DENIED
    assert await desk.standing(login.session, login.session[:16] + "y" * 16) is Outcome.LIVE
    foreign = "an id of somebody else, with 'quotes' and {braces}"
    await desk.do(desk.sessions.deny(foreign, 900, desk.clock.now))
    assert (await desk.do(desk.sessions.standing(None, foreign))).outcome is Outcome.DENIED
    assert (await desk.do(desk.sessions.standing(None, "another"))).live


async def test_an_access_token_of_no_session_of_ours_is_not_believed(desk: Desk) -> None:
    login = await desk.login()
    assert await desk.standing(login.session[:16] + "z" * 16) is Outcome.UNKNOWN
    assert await desk.standing("z" * 32) is Outcome.UNKNOWN
    for session in ("", "short", login.session + "x", login.session[:-1] + "'", "user:42"):
        assert await desk.standing(session) is Outcome.UNKNOWN


async def test_the_check_of_an_access_token_is_one_call_on_the_keys_of_one_subject(desk: Desk) -> None:
    login = await desk.login()
    desk.store.asked.clear()
    await desk.standing(login.session, login.session[:16] + "j" * 16)
    (call,) = desk.store.asked
    assert {key.partition("{")[2].partition("}")[0] for key in call.keys} == {login.session[:16]}


# ------------------------------------------------------------ how many
async def test_sessions_are_listed_with_their_devices_longest_unused_first(desk: Desk) -> None:
    phone = await desk.login(device={"ip": "203.0.113.9", "agent": "phone"})
    desk.clock.advance(60)
    laptop = await desk.login(device={"ip": "203.0.113.10", "agent": "laptop"})
    desk.clock.advance(60)
    await desk.login("user:43")
    await desk.refresh(phone.refresh_token, {"ip": "203.0.113.77", "agent": "phone"})
    desk.clock.advance(5)
    first, second = await desk.do(desk.sessions.listed("user:42", desk.clock.now))
    now = desk.clock.now
    assert (first.id, first.created_at, first.used_at, first.generation) == (laptop.session, now - 65, now - 65, 0)
    assert (second.id, second.created_at, second.used_at, second.generation) == (phone.session, now - 125, now - 5, 1)
    assert first.device == {"ip": "203.0.113.10", "agent": "laptop"}
    assert second.device == {"ip": "203.0.113.77", "agent": "phone"}
    assert second.expires_at == now + 7 * DAY - 5
    assert await desk.do(desk.sessions.listed("nobody", desk.clock.now)) == ()


async def test_the_session_unused_longest_makes_room(request: pytest.FixtureRequest, desk_kind: str) -> None:
    desk = made(request, max_sessions=3)
    logins = []
    for _ in range(3):
        logins.append(await desk.login())
        desk.clock.advance(60)
    await desk.refresh(logins[0].refresh_token)
    desk.clock.advance(60)
    newest = await desk.login()
    assert newest.evicted == (logins[1].session,)
    found = await desk.refresh(logins[1].refresh_token)
    assert (found.outcome, found.reason) == (Outcome.REVOKED, Reason.EVICTED)
    listed = await desk.do(desk.sessions.listed("user:42", desk.clock.now))
    assert [s.id for s in listed] == [logins[2].session, logins[0].session, newest.session]
    await desk.close()


async def test_a_full_subject_refuses_when_told_to_until_a_session_ends(request: pytest.FixtureRequest, desk_kind: str) -> None:
    desk = made(request, max_sessions=2, when_full="refuse")
    first, _ = await desk.login(), await desk.login()
    refused = await desk.login()
    assert (refused.outcome, refused.refresh_token, refused.session) == (Outcome.FULL, "", "")
    assert (await desk.login("user:43")).outcome is Outcome.ISSUED
    await desk.do(desk.sessions.revoke(first.session, desk.clock.now))
    assert (await desk.login()).outcome is Outcome.ISSUED
    desk.clock.advance(7 * DAY)
    assert (await desk.login()).outcome is Outcome.ISSUED
    await desk.close()


async def test_a_subject_stays_small_however_often_it_logs_in(request: pytest.FixtureRequest, desk_kind: str) -> None:
    desk = made(request, max_sessions=5)
    for _ in range(40):
        login = await desk.login()
        await desk.refresh(login.refresh_token)
        await desk.do(desk.sessions.revoke(login.session, desk.clock.now))
    for _ in range(40):
        await desk.login()
    assert len(await desk.do(desk.sessions.listed("user:42", desk.clock.now))) == 5
    if desk_kind == "memory":
        assert len(desk.store.store.sessions) <= 11
    await desk.close()


# ------------------------------------------------------------ what never gets to the store
@pytest.mark.parametrize("kind", ["memory"])
async def test_a_forged_token_never_reaches_the_store(kind: str) -> None:
    desk = Desk(kind, "")
    token = (await desk.login()).refresh_token
    desk.store.asked.clear()
    other = Desk(kind, "")
    other.sessions = make_sessions(secrets=(b"another secret of thirty-two byte",))
    foreign = (await other.login()).refresh_token
    forged = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(len(token))]
    spelled = [
        token + "=",
        token + "\n",
        " " + token,
        token.replace("lwr1_", "lwr2_"),
        token[:-1],
        token + "A",
        "",
        "x" * 10_000,
        "\ud800",
    ]
    for text in [*forged, *spelled, foreign]:
        assert await desk.outcome(text) is Outcome.UNKNOWN
    assert desk.store.asked == []
    assert await desk.outcome(token) is Outcome.ROTATED


@pytest.mark.parametrize(
    "settings",
    [
        {"grace": -1},
        {"grace": 61},
        {"max_sessions": 0},
        {"max_sessions": 1001},
        {"when_full": "forget"},
        {"idle": 0},
        {"absolute": -5},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        SessionPolicy(**settings)  # type: ignore[arg-type]


def test_a_word_that_would_break_the_wire_is_refused() -> None:
    from lockwatch.stores import wire

    for word in ("a b", "a\nb", "'", "", "ü"):
        with pytest.raises(ValueError, match="base64url"):
            wire.command([Call("issue", ("k",), (0,), words=(word,))])
