"""Where alerts are configured to go."""

from __future__ import annotations

import json

import pytest

from lockwatch import ConfigurationError
from lockwatch.alerts.alert import BURST, Alert
from lockwatch.alerts.body import render
from lockwatch.alerts.channels import MOST, Endpoint, SlackChannel, WebhookChannel, endpoints_of
from tests.alerts.test_signing import OLD

URL = "https://hooks.example.com/T0/hunter2"


@pytest.mark.parametrize("channel", [WebhookChannel(URL, [OLD]), SlackChannel(URL)])
def test_neither_url_nor_secret_shows(channel: WebhookChannel | SlackChannel) -> None:
    endpoint = Endpoint(channel, "alerts")
    shown = f"{channel!r} {endpoint!r} {endpoint.name} {endpoint.key}"
    assert "hunter2" not in shown
    assert OLD.removeprefix("whsec_") not in shown
    assert "hooks.example.com" in endpoint.name


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ((), True),
        (("lockwatch.burst",), True),
        ("lockwatch.*", True),
        (("lockwatch.attack.*",), False),
        (("lockwatch.bur",), False),
    ],
)
def test_a_channel_gets_the_types_it_wants(types: tuple[str, ...], wanted: bool) -> None:
    assert Endpoint(WebhookChannel(URL, types=types), "alerts").wants(BURST) is wanted


@pytest.mark.parametrize("types", ["*", ("lockwatch*",), ("",), (7,)])
def test_a_type_that_can_match_nothing_is_refused(types: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="types="):
        Endpoint(WebhookChannel(URL, types=types), "alerts")


def test_urls_come_as_a_list_or_as_text_and_each_counts_once() -> None:
    found = endpoints_of(f"{URL}, https://b.example/", [OLD], [URL], [SlackChannel("https://c.example/")], False)
    assert [e.target.host for e in found] == ["hooks.example.com", "b.example", "c.example"]


def test_too_many_receivers_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="17 receivers"):
        endpoints_of([f"https://h{n}.example/" for n in range(MOST + 1)], (), (), (), False)


def test_something_else_is_no_channel() -> None:
    with pytest.raises(ConfigurationError, match="alerts: str is no channel"):
        endpoints_of((), (), (), ["https://a.example/"], False)  # type: ignore[list-item]


def test_a_message_to_slack_carries_no_signature() -> None:
    body = render(Alert("msg_1", BURST, 0, {"ip": "203.0.113.7"}))
    message = Endpoint(SlackChannel(URL), "slack_urls").message("msg_1", body, 1.0)
    assert dict(message.headers) == {"content-type": "application/json"}
    assert "ip: 203.0.113.7" in json.loads(message.body)["blocks"][1]["fields"][0]["text"]


def test_an_endpoint_without_secrets_is_not_signed() -> None:
    endpoint = Endpoint(WebhookChannel(URL), "webhook_urls")
    assert not endpoint.signed
    assert "webhook-signature" not in endpoint.message("msg_1", b"{}", 1.0).headers
