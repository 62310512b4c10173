"""What an attacker writes into an alert: bounded, cleaned, escaped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.alerts import slack
from lockwatch.alerts.alert import BURST, TYPES, Alert
from lockwatch.alerts.body import MAX_BYTES, clean, render

AT = 1_795_500_000_123_456


def written(data: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(render(Alert("msg_1", BURST, AT, data)))
    return content


def test_an_alert_says_what_it_is_when_and_what_happened() -> None:
    assert written({"ip": "203.0.113.7", "request_count": 50, "window_seconds": 10, "user_agent": None}) == {
        "type": "lockwatch.burst",
        "timestamp": "2026-11-24T06:00:00.123456Z",
        "data": {"ip": "203.0.113.7", "request_count": 50, "window_seconds": 10, "user_agent": None},
    }


def test_nothing_that_controls_a_terminal_or_turns_text_gets_through() -> None:
    found = written({"user_agent": "a\x1b[31m\x00\u202eb\ud800\u2028c\r\n"})
    assert found["data"]["user_agent"] == "a\ufffd[31m\ufffd\ufffdb\ufffd\ufffdc\ufffd\ufffd"


def test_long_texts_are_shortened_and_marked() -> None:
    found = written({"endpoint": "x" * 5_000_000, "ip": "203.0.113.7"})
    assert found["truncated"] is True
    assert len(found["data"]["endpoint"]) == 512
    assert found["data"]["ip"] == "203.0.113.7"
    assert "truncated" not in written({"endpoint": "x" * 512})


@pytest.mark.parametrize(
    "data",
    [
        {"a": ["\U0001f4a9" * 4000] * 400},
        {"a": {str(n) * 100: {str(m): "y" * 600 for m in range(100)} for n in range(100)}},
        {"n": float("nan"), "i": float("inf"), "big": 10**5000},
        {"o": object(), "b": b"raw", "when": datetime(2026, 1, 1, tzinfo=UTC), 7: {1, 2}},
    ],
)
def test_whatever_the_data_the_body_is_small_valid_json(data: dict[str, Any]) -> None:
    body = render(Alert("msg_1", BURST, AT, data))
    assert len(body) < MAX_BYTES
    assert json.loads(body)["type"] == BURST


def test_data_that_contains_itself_ends() -> None:
    endless: dict[str, Any] = {"ip": "203.0.113.7"}
    endless["again"] = [endless] * 3
    assert len(render(Alert("msg_1", BURST, AT, endless))) < MAX_BYTES


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=700),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=30), inner, max_size=9),
    max_leaves=25,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=9), st.integers())
def test_any_alert_is_valid_below_the_limit_and_can_be_shown_in_slack(data: dict[str, Any], at: int) -> None:
    body = render(Alert("msg_1", BURST, at, data))
    assert len(body) < MAX_BYTES
    content = json.loads(body)
    message = json.loads(slack.render(content))
    texts = [b["text"]["text"] for b in message["blocks"] if b["type"] == "header"]
    texts += [f["text"] for b in message["blocks"] if b["type"] == "section" for f in b["fields"]]
    assert all("<" not in text and ">" not in text and len(text) <= 2000 for text in texts)
    assert all(f["type"] == "plain_text" for b in message["blocks"] for f in b.get("fields", b.get("elements", [])))


def test_slack_finds_no_mention_and_no_link_in_what_a_client_wrote() -> None:
    message = slack.render(written({"user_agent": "<!channel> <https://evil.example|click> & *bold*"})).decode()
    assert "<" not in message
    assert "&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; *bold*" in message


def test_every_type_has_a_title() -> None:
    assert set(slack.TITLES) == set(TYPES)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.b", BURST), ("", BURST), ("a" * 65, BURST), ("a\n", BURST), ("a", "x..y"), ("a", "x-y")]
)
def test_names_that_would_break_a_signature_are_refused(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match="of an alert is"):
        Alert(name, kind, AT)


def test_clean_keeps_what_can_be_read() -> None:
    assert clean("Mozilla/5.0 (ä, 漢字)") == "Mozilla/5.0 (ä, 漢字)"
    assert clean("abcdef", 4) == "abc\N{HORIZONTAL ELLIPSIS}"
