"""Subjects as people write them: ``ip:203.0.113.7``, ``user:alice``, ``key:...``, ``claim:plan:pro``, ``custom:...``."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

from lockwatch.client import UNKNOWN as NO_ADDRESS
from lockwatch.client import read_address
from lockwatch.client import subject_of as network_of
from lockwatch.keys import BodyKey, ClaimKey, VerifiedKey, by_api_key, by_ip, by_user, folded, is_prefixed

KINDS: Final = ("ip", "user", "key", "owner", "claim", "json", "form", "custom")
"""What may stand before the colon; what a key function of one's own returns is ``custom``."""
UNKNOWN: Final = f"ip:{NO_ADDRESS}"
"""The subject of all clients without an address."""
_COUNTED_BY: Final[dict[object, tuple[str, ...]]] = {by_ip: (), by_user: ("user:",), by_api_key: ("key:",)}


def named(text: str, ipv6_prefix: int = 64) -> str:
    """The subject a text names; without a kind of `KINDS` in front it is ``custom``. An address becomes what it is counted under.

    Raises: ValueError, for an empty text.
    """
    if not text:
        raise ValueError("the key is empty; whom should be counted?")
    kind, _, value = text.partition(":")
    if kind == "ip":
        return f"ip:{_network(value, ipv6_prefix)}"
    if kind in ("json", "form"):
        name, _, member = value.partition(":")
        return f"{kind}:{name}:{folded(member)}"
    return text if kind in KINDS else f"custom:{text}"


def is_counted_by(key: object, subject: str) -> bool:
    """Whether a limit with the key function `key` can count `subject`. All of them fall back on the address."""
    return subject.startswith(("ip:", *_kinds(key)))


def _kinds(key: object) -> tuple[str, ...]:
    if isinstance(key, VerifiedKey):
        return ("key:", "owner:")
    if isinstance(key, ClaimKey):
        return (f"claim:{key.name}:",)
    if isinstance(key, BodyKey):
        return (f"{key.kind}:{key.name}:", "body:")
    return _COUNTED_BY[key] if is_prefixed(key) else ("custom:",)


def shown(subject: str) -> str:
    """A subject fit for a screen: an API key is not."""
    return "key:(hidden)" if subject.startswith("key:") else subject


def _network(value: str, ipv6_prefix: int) -> str:
    address = read_address(value)
    if address is not None:
        return network_of(address, ipv6_prefix)
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        return value
