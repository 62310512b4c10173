"""The part of the story in which the demo attacks itself: it is told by webhook, the attacker is banned, and let in again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from lockwatch.demo.claims import Claim, equal
from lockwatch.demo.demo import BURST
from lockwatch.demo.story import Context, Observed, Step

ATTACKER: Final = "203.0.113.66"
FRIEND: Final = "198.51.100.4"
_AT_ONCE: Final = 60
_PATHS: Final = 40


def attack(context: Context) -> Observed:
    """Attack from an address, and watch what comes of it."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: _status(context, "/health"), range(_AT_ONCE)))
    bursts = _told(context, "lockwatch.burst")
    for number in range(_PATHS):
        _status(context, f"/backup-{number}.zip")
    campaign = _told(context, "lockwatch.attack.detected")
    ban = _told(context, "lockwatch.ban.created")
    while_banned = [_status(context, "/health"), _status(context, "/health", FRIEND)]
    context.server.lockwatch.bans.lift_sync(ATTACKER, by="the demo")
    after = _status(context, "/health")
    told, seen = _data(bursts, "request_count"), _data(campaign, "sources")
    lines = [
        f"   {_AT_ONCE} requests at once         {bursts.get('type')}  {_data(bursts, 'ip')}, {told} in 10 s",
        f"   {_PATHS} paths that do not exist  {campaign.get('type')}  {_data(campaign, 'rule')}, {seen}",
        f"                               {ban.get('type')}  {_data(ban, 'subject')}, {_data(ban, 'seconds')} s",
        f"   the attacker, anybody else  {' '.join(map(str, while_banned))}",
        f"   after the ban is lifted     {after}",
    ]
    facts = {"burst": bursts, "campaign": campaign, "ban": ban, "statuses": [*while_banned, after]}
    return Observed(lines, facts, attack_claims(context.server.receiver.received, while_banned, after))


def attack_claims(received: list[dict[str, Any]], while_banned: list[int], after: int) -> list[Claim]:
    """What must come of it. `received` are webhooks whose signatures were verified."""
    bursts = [content for content in received if content["type"] == "lockwatch.burst" and _data(content, "ip") == ATTACKER]
    detected = [content for content in received if content["type"] == "lockwatch.attack.detected"]
    campaigns = [content for content in detected if str(_data(content, "rule")).startswith("scan.")]
    bans = [content for content in received if content["type"] == "lockwatch.ban.created"]
    return [
        equal(f"{_AT_ONCE} requests at once, with {BURST} allowed in 10 s, are one alert", 1, len(bursts)),
        equal("a scan of paths is one campaign", ["scan.address"], [_data(content, "rule") for content in campaigns]),
        equal("which names who is behind it", [[ATTACKER]], [_data(content, "sources") for content in campaigns]),
        equal("the scanner is banned", [f"ip:{ATTACKER}"], [_data(content, "subject") for content in bans]),
        equal("and refused, nobody else is", [403, 200], while_banned),
        equal("a lifted ban lets it in again", 200, after),
    ]


def _status(context: Context, path: str, ip: str = ATTACKER) -> int:
    return context.traffic.client.get(path, headers={"X-Forwarded-For": ip}).status_code


def _told(context: Context, kind: str) -> dict[str, Any]:
    """The webhook of that type that is about the attacker, as soon as it is there."""
    context.screen.progress(f"waiting for {kind}", passing=True)
    return context.server.receiver.wait_for(kind, about=ATTACKER) or {}


def _data(content: dict[str, Any], name: str) -> Any:
    return content.get("data", {}).get(name)


ATTACKED: Final = Step("Under attack: the demo attacks itself, and a local receiver gets signed webhooks", attack)
