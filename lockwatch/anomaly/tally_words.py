"""A tally as whole numbers and words, as a `Call` takes them from process to process."""

from __future__ import annotations

from typing import Final

from lockwatch.anomaly.packing import Reader, Writer
from lockwatch.anomaly.records import Login, Reuse, Source
from lockwatch.anomaly.tally import Tally

VERSION: Final = 1


def encode(tally: Tally) -> tuple[list[int], list[str]]:
    """Numbers (version, start, end, events, lost) and words."""
    words = [_logins(tally.logins), _sources(tally.sources), _counts(tally.users), _counts(tally.routes), _uses(tally.uses)]
    return [VERSION, tally.start_us, tally.end_us, tally.events, tally.lost], [*words, _reuses(tally.reuses)]


def decode(numbers: list[int], words: list[str]) -> Tally:
    """What `encode` made. Raises: ValueError, for another version or a torn record."""
    if len(numbers) != 5 or len(words) != 6 or numbers[0] != VERSION:
        raise ValueError("this is no tally of this version")
    tally = Tally()
    _, tally.start_us, tally.end_us, tally.events, tally.lost = numbers
    readers = [Reader(word) for word in words]
    while readers[0]:
        login = _login_of(readers[0])
        tally.logins[login.user, login.address, login.agent] = login
    while readers[1]:
        address = readers[1].key()
        tally.sources[address] = _source_of(readers[1])
    for counts, reader in ((tally.users, readers[2]), (tally.routes, readers[3])):
        while reader:
            key = reader.key()
            counts[key] = reader.number()
    while readers[4]:
        credential = readers[4].key()
        tally.uses[credential] = {readers[4].key() for _ in range(readers[4].number())}
    while readers[5]:
        keys = readers[5].key(), readers[5].key(), readers[5].key()
        tally.reuses.append(Reuse(*keys, readers[5].number(), readers[5].text()))
    return tally


def _logins(logins: dict[tuple[bytes, bytes, bytes], Login]) -> str:
    out = Writer()
    for login in logins.values():
        out.keys(login.user, login.address, login.network, login.agent)
        out.numbers(login.failures, login.successes, login.probes, login.at_us)
        out.text(login.example)
    return out.word()


def _login_of(reader: Reader) -> Login:
    keys = reader.key(), reader.key(), reader.key(), reader.key()
    return Login(*keys, reader.number(), reader.number(), reader.number(), reader.number(), reader.text())


def _sources(sources: dict[bytes, Source]) -> str:
    out = Writer()
    for address, source in sources.items():
        out.keys(address)
        out.numbers(source.requests, source.misses, len(source.paths))
        for path in sorted(source.paths):
            out.numbers(int.from_bytes(path, "big"))
        out.text(source.example)
    return out.word()


def _source_of(reader: Reader) -> Source:
    requests, misses, paths = reader.number(), reader.number(), reader.number()
    return Source(requests, misses, {reader.number().to_bytes(4, "big") for _ in range(paths)}, reader.text())


def _counts(counts: dict[bytes, int]) -> str:
    out = Writer()
    for key, count in counts.items():
        out.keys(key)
        out.numbers(count)
    return out.word()


def _uses(uses: dict[bytes, set[bytes]]) -> str:
    out = Writer()
    for credential, ranges in uses.items():
        out.keys(credential)
        out.numbers(len(ranges))
        out.keys(*sorted(ranges))
    return out.word()


def _reuses(reuses: list[Reuse]) -> str:
    out = Writer()
    for reuse in reuses:
        out.keys(reuse.user, reuse.session, reuse.address)
        out.numbers(reuse.at_us)
        out.text(reuse.example)
    return out.word()
