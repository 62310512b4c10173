"""Clients of the example applications, and what they note: who was answered what, and when what was admitted."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import websockets

from tests.stress.admission import Seen

PASSWORD: Final = "correct horse battery"
QUESTION: Final = "What day was 1969-07-20 in the end?"
WORDS: Final = len(QUESTION.split())
ADDRESSES: Final = 256 * 254
STALE: Final = 12.0
"""Seconds after which a used refresh token is presented again: the grace is over by then."""


@dataclass
class Notes:
    """What all clients saw.

    Attributes:
        answered: the status of every request that was answered as a whole, by its id.
        places: the port that answered it, and when, on the monotonic clock.
        failed: requests that got no whole answer.
        admitted: when requests that took one from a quota were admitted, by what they took it from.
        spent: when tokens were spent, and how many, by user.
        wrong: answers that should not be.
        counts: events worth a line of the report.
        addresses: how many addresses clients come from.
    """

    answered: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[int, float]] = field(default_factory=dict)
    failed: int = 0
    admitted: dict[tuple[str, str], list[Seen]] = field(default_factory=lambda: defaultdict(list))
    spent: dict[str, list[tuple[Seen, int]]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    stopped: bool = False
    ids: Any = field(default_factory=lambda: count(1))
    addresses: int = ADDRESSES


@dataclass
class Answer:
    """An answer, and between which times it was decided, in microseconds."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seen: Seen

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def wait(self) -> float:
        """What it asks to wait, at most a quarter of a minute: longer waits would leave a client idle."""
        return min(15.0, float(self.header("retry-after") or 1))


class NoAnswer(Exception):  # a server that is being restarted is no error of anybody
    """The connection broke before the answer was whole."""


class Wire:
    """One connection that is kept, and made anew when it breaks."""

    def __init__(self, port: int, notes: Notes, dice: random.Random) -> None:
        self.port, self.notes, self.dice = port, notes, dice
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._address, self._used = "", 0

    def address(self) -> str:
        """Where the request is from: another place every 40 requests, so that few of them are bursts."""
        if self._used % 40 == 0:
            number = self.dice.randrange(self.notes.addresses)
            self._address = f"198.18.{number // 254}.{1 + number % 254}"
        self._used += 1
        return self._address

    async def ask(self, method: str, path: str, content: Any = None, address: str = "", **headers: str) -> Answer:
        """One request. Raises: NoAnswer."""
        body = b"" if content is None else json.dumps(content).encode()
        name = f"soak-{next(self.notes.ids)}"
        told = {
            "host": "localhost",
            "x-request-id": name,
            "x-forwarded-for": address or self.address(),
            "content-type": "application/json",
            "content-length": str(len(body)),
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in told.items()) + "\r\n"
        since = time.time_ns() // 1000
        try:
            status, fields, received = await asyncio.wait_for(self._exchange(head.encode() + body), 60)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            self.notes.failed += 1
            raise NoAnswer from error
        answer = Answer(status, fields, received, Seen(since, time.time_ns() // 1000))
        self.notes.answered[name] = status
        self.notes.places[name] = (self.port, time.monotonic())
        self.notes.counts[f"{status}"] += 1
        if status == 500:
            self.notes.wrong.append(f"500 for {method} {path}: {received[:200]!r}")
        return answer

    async def _exchange(self, request: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        reader, writer = self._streams or await asyncio.open_connection("127.0.0.1", self.port)
        self._streams = reader, writer
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = [(key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines[1:])]
        names = dict(fields)
        if "content-length" in names:
            body = await reader.readexactly(int(names["content-length"]))
        else:
            body = await _chunks(reader) if names.get("transfer-encoding", "") == "chunked" else b""
        if names.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), fields, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).strip() or b"x", 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(parts)


async def forever(notes: Notes, wire: Wire, turn: Callable[[Wire], Awaitable[None]]) -> None:
    """One client: turn after turn, whatever breaks."""
    while not notes.stopped:
        with suppress(NoAnswer):
            await turn(wire)
        await asyncio.sleep(0.001 if wire._streams else 0.05)
    wire.close()


# --------------------------------------------------------------------- Chronobot
class Chatter:
    """A user of Chronobot: chats, refreshes, and sometimes presents a refresh token that it used before."""

    def __init__(self, name: str, patient: bool, dice: random.Random) -> None:
        self.name, self.patient, self.dice = name, patient, dice
        self.pair: dict[str, str] = {}
        self.begun = 0.0
        self.used: tuple[float, str] = (0.0, "")

    async def turn(self, wire: Wire) -> None:
        if not self.pair:
            await self._login(wire)
        elif time.monotonic() > self.begun + 10:
            await self._refresh(wire)
        elif self.used[1] and time.monotonic() > self.used[0] + STALE:
            await self._reuse(wire)
        else:
            await self._chat(wire)

    async def _login(self, wire: Wire) -> None:
        answer = await wire.ask("POST", "/login", {"username": self.name, "password": PASSWORD})
        if answer.status == 200:
            self.pair, self.begun, self.used = answer.json(), time.monotonic(), (0.0, "")
        else:
            await asyncio.sleep(answer.wait)

    async def _refresh(self, wire: Wire) -> None:
        old = self.pair["refresh_token"]
        answer = await wire.ask("POST", "/auth/refresh", {"refresh_token": old})
        if answer.status == 200:
            self.pair, self.begun = answer.json(), time.monotonic()
            wire.notes.counts["refreshed"] += 1
            if self.pair["refresh_token"] != old and not self.used[1] and self.dice.random() < 0.2:
                self.used = (time.monotonic(), old)
        elif answer.status == 400:
            self.pair = {}
            wire.notes.counts["sessions that ended"] += 1

    async def _reuse(self, wire: Wire) -> None:
        answer = await wire.ask("POST", "/auth/refresh", {"refresh_token": self.used[1]})
        if answer.status == 200:
            wire.notes.wrong.append("a refresh token was accepted twice, long after its grace")
        if answer.status == 400:
            wire.notes.counts["used refresh tokens refused"] += 1
            self.used = (0.0, "")
            again = await wire.ask("POST", "/auth/refresh", {"refresh_token": self.pair["refresh_token"]})
            if again.status == 200:
                wire.notes.wrong.append("a session went on after one of its refresh tokens was used again")
            self.pair = {}

    async def _chat(self, wire: Wire) -> None:
        most = self.dice.choice((16, 64, 256))
        bearer = f"Bearer {self.pair['access_token']}"
        answer = await wire.ask("POST", f"/chat?max_tokens={most}", {"text": QUESTION}, authorization=bearer)
        if answer.status == 200:
            cost = WORDS + len(answer.body.split())
            wire.notes.admitted["messages", self.name].append(answer.seen)
            wire.notes.spent[self.name].append((answer.seen, cost))
        elif answer.status == 401:
            self.pair = {}
        elif self.patient:
            await asyncio.sleep(answer.wait)
        await asyncio.sleep(0.02)


async def talk(notes: Notes, port: int, name: str, dice: random.Random) -> None:
    """A user of Chronobot who opens a WebSocket, sends more than it may, and opens the next."""
    wire = Wire(port, notes, dice)
    while not notes.stopped:
        with suppress(NoAnswer, OSError, websockets.WebSocketException, TimeoutError):
            answer = await wire.ask("POST", "/login", {"username": name, "password": PASSWORD})
            if answer.status != 200:
                await asyncio.sleep(answer.wait)
                continue
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "X-Forwarded-For": wire.address()}
            url = f"ws://127.0.0.1:{port}/chat/socket"
            async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
                notes.counts["sockets"] += 1
                while not notes.stopped:
                    since = time.time_ns() // 1000
                    await socket.send(QUESTION)
                    told = json.loads(await asyncio.wait_for(socket.recv(), 60))
                    seen = Seen(since, time.time_ns() // 1000)
                    notes.counts["messages of sockets"] += 1
                    if "retry_after" in told:
                        await asyncio.sleep(0.5)
                        continue
                    notes.admitted["messages of sockets", name].append(seen)
                    if "reply" in told:
                        notes.spent[name].append((seen, WORDS + len(told["reply"].split())))
        await asyncio.sleep(0.2)
    wire.close()


async def burst(wire: Wire) -> None:
    """An address that sends as fast as it can, over four connections, until it is banned; then the next does."""
    address = f"198.19.{wire.dice.randrange(256)}.{wire.dice.randrange(1, 255)}"
    ends = time.monotonic() + 20
    banned = await asyncio.gather(*[_storm(Wire(wire.port, wire.notes, wire.dice), address, ends) for _ in range(4)])
    wire.notes.counts["bursts banned"] += all(banned)
    await asyncio.sleep(10)


async def _storm(wire: Wire, address: str, ends: float) -> bool:
    """Whether it was banned."""
    try:
        while time.monotonic() < ends and not wire.notes.stopped:
            answer = await wire.ask("GET", "/me", address=address)
            if answer.status == 403 and answer.json()["error"] == "banned":
                return True
    except NoAnswer:
        return False
    finally:
        wire.close()
    return False


# -------------------------------------------------------------------- Livestotell
class Author:
    """A user of Livestotell: writes with cookies, and sometimes as another site would."""

    def __init__(self, name: str, patient: bool, dice: random.Random) -> None:
        self.name, self.patient, self.dice = name, patient, dice
        self.cookies: dict[str, str] = {}
        self.begun = 0.0
        self.story = ""

    async def turn(self, wire: Wire) -> None:
        if not self.cookies:
            await self._keep(await wire.ask("POST", "/login", {"username": self.name, "password": PASSWORD}))
        elif time.monotonic() > self.begun + 10:
            answer = await wire.ask("POST", "/auth/refresh", cookie=self._jar, sec_fetch_site="same-origin")
            wire.notes.counts["refreshed"] += answer.status == 200
            self.cookies = {} if answer.status == 400 else self.cookies
            await self._keep(answer)
        elif self.dice.random() < 0.05:
            forged = await wire.ask("POST", "/stories", {"title": "x", "text": "y"}, cookie=self._jar)
            wire.notes.counts["forged requests refused"] += forged.status == 403
            if forged.status == 201:
                wire.notes.wrong.append("a forged request wrote a story")
            self.cookies = {} if forged.status == 401 else self.cookies
        else:
            await self._write(wire)

    async def _write(self, wire: Wire) -> None:
        comments = self.story and self.dice.random() < 0.7
        path = f"/stories/{self.story}/comments" if comments else "/stories"
        content = {"text": "How deep?"} if comments else {"title": "The well", "text": "Once upon a time"}
        csrf = self.cookies["__Host-lockwatch-csrf"]
        answer = await wire.ask("POST", path, content, cookie=self._jar, x_csrf_token=csrf)
        if answer.status == 201:
            wire.notes.admitted["writing", self.name].append(answer.seen)
            self.story = self.story if comments else answer.json()["id"]
        elif answer.status == 401:
            self.cookies = {}
        elif self.patient:
            await asyncio.sleep(answer.wait)
        await asyncio.sleep(0.02)

    @property
    def _jar(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def _keep(self, answer: Answer) -> None:
        if answer.status == 200:
            pairs = [re.match(r"([^=]+)=([^;]*)", value) for key, value in answer.headers if key == "set-cookie"]
            self.cookies.update({pair[1]: pair[2] for pair in pairs if pair})
            self.begun = time.monotonic()
        else:
            await asyncio.sleep(answer.wait)


async def read(wire: Wire) -> None:
    """Somebody who reads."""
    answer = await wire.ask("GET", "/stories")
    if answer.status == 200 and wire.dice.random() < 0.5 and (stories := answer.json()):
        await wire.ask("GET", f"/stories/{wire.dice.choice(stories)['id']}")


def guesser(victim: str) -> Callable[[Wire], Awaitable[None]]:
    """Somebody who tries passwords, many at once."""

    async def guess(wire: Wire) -> None:
        others = [Wire(wire.port, wire.notes, wire.dice) for _ in range(8)]
        await asyncio.gather(*[_guess(other, victim) for other in others])
        await asyncio.sleep(1)

    return guess


async def _guess(wire: Wire, victim: str) -> None:
    with suppress(NoAnswer):
        answer = await wire.ask("POST", "/login", {"username": victim, "password": f"guess {wire.dice.random()}"})
        if answer.status == 401:
            wire.notes.admitted["guesses", victim].append(answer.seen)
        if answer.status == 200:
            wire.notes.wrong.append("a wrong password was right")
    wire.close()
