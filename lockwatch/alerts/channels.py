"""Where alerts go: what is configured, and what of it is asked at a delivery. Pure.

The URL of a receiver is a secret as well: whoever knows that of Slack may write there. It shows in no repr, log line or error, and
is not in the outbox; an endpoint is called after its host and a hash of its URL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Final, TypeAlias

from lockwatch.alerts import slack
from lockwatch.alerts.signing import Key, read_key, signature
from lockwatch.alerts.ssrf import Target, read_target
from lockwatch.errors import ConfigurationError

Secret: TypeAlias = "str | bytes | Callable[[], str | bytes]"  # noqa: S105
MOST: Final = 16
"""Endpoints of one application, because each may hang for as long as a delivery may take."""


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A receiver of webhooks (Standard Webhooks 1.0.0).

    Attributes:
        url: https, or with `allow_private` http and an address of your own network.
        secrets: ``whsec_...`` or ``whsk_...``, or functions that return them; each signs, so that they can be replaced one by one.
        types: what it wants, like ``("lockwatch.attack.*", "lockwatch.burst")``; everything when empty.
        allow_private: whether it may be at a private address.
    """

    url: str = field(repr=False)
    secrets: Secret | Sequence[Secret] = field(default=(), repr=False)
    types: Sequence[str] = ()
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """An incoming webhook of Slack, or of a chat that takes the same messages.

    Attributes:
        url: its URL, which is a secret.
        types: what it wants; everything when empty.
        allow_private: whether it may be at a private address.
    """

    url: str = field(repr=False)
    types: Sequence[str] = ()
    allow_private: bool = False


Channel: TypeAlias = WebhookChannel | SlackChannel


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: the headers beside ``Host`` and ``Content-Length``, and the body."""

    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """A channel, checked.

    Args:
        channel: as configured.
        option: what to call it in an error.

    Attributes:
        key: names it in the outbox: a hash of its URL.
        name: for people: host and a part of the hash.

    Raises: ConfigurationError.
    """

    def __init__(self, channel: Channel, option: str) -> None:
        self.target: Target = read_target(option, channel.url, channel.allow_private)
        self.key = blake2s(channel.url.encode(), digest_size=8, person=b"lw-chan").hexdigest()
        self.name = f"{self.target.host}#{self.key[:4]}"
        self.slack = isinstance(channel, SlackChannel)
        self._secrets = _listed(channel.secrets) if isinstance(channel, WebhookChannel) else ()
        self._types = _types(option, channel.types)
        for secret in self._secrets:
            if not callable(secret):
                read_key(secret, signs=True)

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"

    @property
    def signed(self) -> bool:
        """Whether a receiver can tell who wrote a message."""
        return self.slack or bool(self._secrets)

    def wants(self, kind: str) -> bool:
        """Whether an alert of this type goes there."""
        return not self._types or any(kind == t or (t.endswith(".*") and kind.startswith(t[:-1])) for t in self._types)

    def message(self, name: str, body: bytes, now: float) -> Message:
        """What to send, signed now.

        Args:
            name: id of the alert.
            body: as rendered.
            now: seconds since 1970.

        Raises: ConfigurationError, when a function returns no secret.
        """
        if self.slack:
            return Message({"content-type": "application/json"}, slack.render(json.loads(body)))
        stamp = int(now)
        headers = {"content-type": "application/json", "webhook-id": name, "webhook-timestamp": str(stamp)}
        if keys := self._keys():
            headers["webhook-signature"] = signature(keys, name, stamp, body)
        return Message(headers, body)

    def _keys(self) -> list[Key]:
        return [read_key(secret() if callable(secret) else secret, signs=True) for secret in self._secrets]


def endpoints_of(
    urls: str | Sequence[str],
    secrets: Secret | Sequence[Secret],
    slack_urls: str | Sequence[str],
    channels: Sequence[Channel],
    private: bool,
) -> tuple[Endpoint, ...]:
    """The endpoints of an application, each URL once.

    Args:
        secrets: sign what goes to `urls`.
        channels: beside these, with settings of their own.
        private: whether `urls` and `slack_urls` may be at private addresses.

    Raises: ConfigurationError.
    """
    for channel in channels:
        if not isinstance(channel, WebhookChannel | SlackChannel):
            raise ConfigurationError(
                f"alerts: {type(channel).__name__} is no channel; a correct one is WebhookChannel('https://hooks.example.com/lockwatch')"
            )
    found = [
        *(Endpoint(WebhookChannel(url, secrets, (), private), "webhook_urls") for url in _texts(urls)),
        *(Endpoint(SlackChannel(url, (), private), "slack_urls") for url in _texts(slack_urls)),
        *(Endpoint(channel, "alerts") for channel in channels),
    ]
    if len(found) > MOST:
        raise ConfigurationError(
            f"{len(found)} receivers of alerts are configured, {MOST} are allowed; send to one that distributes"
        )
    return tuple({endpoint.key: endpoint for endpoint in found}.values())


def _listed(secrets: Secret | Sequence[Secret]) -> tuple[Secret, ...]:
    return (secrets,) if isinstance(secrets, str | bytes) or callable(secrets) else tuple(secrets)


def _texts(urls: str | Sequence[str]) -> Sequence[str]:
    return [url for part in urls.split(",") if (url := part.strip())] if isinstance(urls, str) else urls


def _types(option: str, types: Sequence[str]) -> tuple[str, ...]:
    listed = (types,) if isinstance(types, str) else tuple(types)
    for text in listed:
        if not isinstance(text, str) or "*" in text.removesuffix(".*") or not text:
            raise ConfigurationError(f"{option}: types={text!r} is not a type or its beginning, like 'lockwatch.attack.*'")
    return listed
