"""Tallies: what one process saw, as another one reads it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.tally import LOGINS, Tally
from lockwatch.anomaly.tally_words import decode, encode
from lockwatch.event import Event

NAMES = Names(b"k" * 32)
IPS = ["203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8::1", None, "no address"]


def login(user: str | None, ip: str | None, outcome: str = "failure", time_us: int = 1_000_000, **more: object) -> Event:
    return Event(time_us=time_us, kind="auth", action="login", outcome=outcome, user=user, ip=ip, **more)  # type: ignore[arg-type]


def request(ip: str | None, path: str = "/a", status: int = 200, route: str | None = "/a", **more: object) -> Event:
    return Event(
        time_us=2_000_000, kind="http", action="request", ip=ip, path=path, status=status, route=route, method="GET", **more
    )  # type: ignore[arg-type]


events = st.one_of(
    st.builds(
        login,
        st.sampled_from(["alice", "Alice ", "bob", "", None]),
        st.sampled_from(IPS),
        st.sampled_from(["success", "failure"]),
        st.integers(1, 10**15),
        user_agent=st.sampled_from([None, "curl"]),
        request_id=st.sampled_from([None, "r1", "\udcff", "x" * 300]),
        count=st.integers(1, 5),
    ),
    st.builds(
        request,
        st.sampled_from(IPS),
        st.text(max_size=5),
        st.sampled_from([200, 404, 429]),
        st.sampled_from(["/a", "<unmatched>", None]),
        user=st.sampled_from([None, "alice"]),
        session=st.sampled_from([None, "s1"]),
    ),
    st.builds(lambda ip: Event(time_us=5, kind="auth", action="token.reused", ip=ip, session="s", user="u"), st.sampled_from(IPS)),
)


def tally_of(found: list[Event]) -> Tally:
    tally = Tally()
    for event in found:
        tally.add(event, NAMES)
    return tally


def test_a_tally_counts_attempts_by_user_and_address() -> None:
    tally = tally_of([login("alice", "203.0.113.7"), login("ALICE", "203.0.113.7"), login("alice", "203.0.113.8", "success")])
    assert tally.events == 3
    first, second = tally.logins.values()
    assert (first.failures, first.successes, second.failures, second.successes) == (2, 0, 0, 1)
    assert first.user == second.user == NAMES.user("alice")
    assert first.network == second.network
    assert first.address != second.address


def test_an_empty_user_name_is_nobody() -> None:
    (one,) = tally_of([login("", "203.0.113.7"), login(None, "203.0.113.7"), login("  ", "203.0.113.7")]).logins.values()
    assert (one.user, one.failures) == (NO_KEY, 3)


def test_only_requests_that_matched_no_route_are_misses() -> None:
    tally = tally_of(
        [request("203.0.113.7", "/wp-admin", 404, "<unmatched>"), request("203.0.113.7", "/photos/9", 404, "/photos/{id}")]
    )
    (source,) = tally.sources.values()
    assert (source.requests, source.misses, len(source.paths)) == (2, 1, 1)


def test_a_flood_of_names_fills_a_table_and_no_more() -> None:
    tally = tally_of([login(f"user{i}", "203.0.113.7") for i in range(LOGINS + 100)])
    assert (len(tally.logins), tally.lost, tally.events) == (LOGINS, 100, LOGINS + 100)


def test_names_are_hashed_with_the_key_of_the_installation() -> None:
    assert Names(b"a").user("alice") != Names(b"b").user("alice")
    assert NAMES.name(NAMES.user("alice")) == "alice"


def test_names_forget_the_oldest() -> None:
    names = Names(b"k", remembered=8)
    first = names.user("user0")
    for i in range(20):
        names.user(f"user{i}")
    assert names.name(first) is None
    assert names.name(names.user("user19")) == "user19"


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=20))
def test_a_tally_survives_being_sent(found: list[Event]) -> None:
    tally = tally_of(found)
    numbers, words = encode(tally)
    assert all(word and word.replace("-", "a").replace("_", "a").isalnum() for word in words)
    read = decode(numbers, words)
    assert encode(read) == (numbers, words)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=20), st.integers(0, 20))
def test_two_tallies_merged_say_what_one_would_have(found: list[Event], cut: int) -> None:
    whole = tally_of(found)
    merged = tally_of(found[:cut])
    merged.merge(tally_of(found[cut:]))
    for name in ("start_us", "end_us", "events", "lost", "users", "routes", "uses"):
        assert getattr(merged, name) == getattr(whole, name)
    assert {k: (v.failures, v.successes, v.at_us) for k, v in merged.logins.items()} == {
        k: (v.failures, v.successes, v.at_us) for k, v in whole.logins.items()
    }


def test_reuse_of_a_refresh_token_opens_a_campaign_once_and_it_ends() -> None:
    reuse = Event(
        time_us=1_000_000, kind="auth", action="token.reused", ip="203.0.113.7", session="s", user="alice", request_id="r1"
    )
    detector = Detector()
    (change,) = detector.feed(tally_of([reuse]))
    assert (change.kind, change.campaign.rule, change.campaign.examples) == ("opened", "token.reuse", ("r1",))
    assert change.campaign.targets == (NAMES.user("alice"),)
    assert detector.feed(tally_of([reuse])) == []
    again = Detector()
    again.load(detector.dump())
    assert again.dump() == detector.dump()
    (change,) = again.tick(10**12)
    assert (change.kind, change.campaign.resolved_us) == ("resolved", 10**12)
    assert again.tick(2 * 10**12) == []
