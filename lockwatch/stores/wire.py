"""What goes over the wire: calls become one EVALSHA, one text becomes replies. The same for both colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Final

from redis.exceptions import BusyLoadingError, OutOfMemoryError, ResponseError

from lockwatch.errors import CallFailed, StoreError, StoreFull, StoreRefused
from lockwatch.flow import Call, Reply, Worded, words_of

_CODE: Final = re.compile(r"(?:@?user_script: ?\d+: )?-?([A-Z]+)\b")
"""The code an error begins with; Redis 6.2 puts the line of the script in front of it."""
_STATES: Final = frozenset(
    ["READONLY", "NOPERM", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "LOADING", "BUSY"]
)
"""Codes that speak of the server, not of the call."""
_RIGHTS: Final = re.compile("ACL failure|user executing the script")
"""What servers without a code of its own for it say about a missing right."""
_WINDOW: Final = ("window", "plain")
_ALGORITHMS: Final = ("sorted_set", "sliding_counter", "gcra", "fixed_window", "concurrent")
"""By their numbers, from 1 on."""
_CHARGES: Final = ("algorithms", "sliding_window", "open", "admit")
_OTHERS: Final = ("settle", "keys")
_ALONE: Final = "rotate"
"""What has a script of its own where nothing travels with it."""
_GUARDS: Final = ("burst", "bans", "acquaintance", "watch")
_SHOWN: Final = frozenset(["enter", "standing"])
_ONE: Final = 6
"""Numbers of a call about one limit: the time, then mode, quota, span, burst, cost."""
_WORDS: Final = re.compile("'[A-Za-z0-9_-]+(?: '[A-Za-z0-9_-]+)*").fullmatch


@cache
def source(alone: bool = False) -> bytes:
    """The script that runs every batch: all files of `lua/`; or the one that runs a refresh which travels `alone`.

    What the common case does not need stands in functions that a batch runs when it does: Lua makes the functions of a
    script anew each time, and that would be half of the time of a check.
    """
    if alone:
        others = "local function otherwise()\nlocal sessions = {}\n" + _joined(("prelude", "refresh", "otherwise")) + "end\n"
        return (_joined(("record", "alone")) + others + "return otherwise()").encode()
    parts = [
        _joined(("prelude",)),
        "local ring, decide_plain = {}\nlocal function load_window()\n" + _joined(_WINDOW) + "end\n",
        "local function load_algorithm(number, makers, MOST)\n" + _joined(("scalar",)),
        *[f"if number == {number} then\n{_joined((name,))}end" for number, name in enumerate(_ALGORITHMS, start=1)],
        "end\n",
        "local function load_charges()\n" + _joined(_CHARGES),
        "function scripts.others()\n" + _joined(_OTHERS) + "end\nend\n",
        "local sessions = {}\nlocal function load_standing()\n" + _joined(("standing",)) + "end\n",
        "local function load_sessions()\n" + _joined(("record", "refresh")),
        "function sessions.load_others()\n" + _joined(("session",)) + "end\nend\n",
        "local guards = {}\nlocal function load_guards()\n" + _joined(_GUARDS) + "end\n",
        _joined(("dispatch",)),
    ]
    return "\n".join(parts).encode()


@cache
def source_of_check() -> bytes:
    """The script that runs a check of one plain limit which travels alone: no more than that needs."""
    return "\n".join([_joined(("prelude",)), "local ring, decide_plain = {}", _joined((*_WINDOW, "check"))]).encode()


def _joined(names: Sequence[str]) -> str:
    folder = files("lockwatch.stores") / "lua"
    return "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names)


@cache
def _evalsha(alone: bool = False) -> bytes:
    # Redis names scripts by SHA-1; nothing here rests on its strength.
    return _text(b"EVALSHA") + _text(sha1(source(alone), usedforsecurity=False).hexdigest().encode())


@cache
def _eval(alone: bool = False) -> bytes:
    return _text(b"EVAL") + _text(source(alone))


def _text(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


@cache
def _head_alone(whole: bool) -> bytes:
    return b"*6\r\n" + (_eval(True) if whole else _evalsha(True)) + _text(b"2")


@cache
def _head_of_check(whole: bool) -> bytes:
    source = source_of_check()
    named = source if whole else sha1(source, usedforsecurity=False).hexdigest().encode()
    return b"*5\r\n" + _text(b"EVAL" if whole else b"EVALSHA") + _text(named) + _text(b"1")


def _is_check(call: Call) -> bool:
    """Whether a call is about one sliding window, and leaves nothing that could be given back: mode 0 or 1, no burst."""
    one = len(call.keys) == 1 and len(call.args) == _ONE and call.script in ("admit", "peek")
    return one and call.args[1] in (0, 1) and not call.args[4]


@lru_cache(maxsize=4096)
def _argument(script: str, keys: int, args: tuple[int, ...]) -> bytes:
    return _text(_numbers(script, keys, args).encode())


@lru_cache(maxsize=4096)
def _numbers(script: str, keys: int, args: tuple[int, ...]) -> str:
    return f"{script} {keys} {' '.join([str(int(a)) for a in args])}"


@lru_cache(maxsize=4096)
def _key(key: str) -> bytes:
    return _text(key.encode("utf-8", "surrogatepass"))


def _worded(script: str, keys: int, args: tuple[int, ...], words: tuple[str, ...]) -> bytes:
    told = "'" + " '".join(words)
    if not _WORDS(told):
        raise ValueError(f"a word of the call {script} is not text of the base64url alphabet")
    return _text(f"{_numbers(script, keys, args)} {told}".encode())


_standing: Final = lru_cache(maxsize=4096)(_worded)
"""`_worded` for a token that is shown again and again. Words of other calls are hardly ever the same twice."""


def _argument_of(call: Call) -> bytes:
    script, keys, args, _, words, _ = call
    if not words:
        return _argument(script, len(keys), args)
    return (_standing if script in _SHOWN else _worded)(script, len(keys), args, words)


def command_of(call: Call) -> bytes:
    """`command` for one call alone, remembered: a check of one subject is the same call each time."""
    return command((call,)) if call.words else _single(call.script, call.keys, call.args)


@lru_cache(maxsize=4096)
def _single(script: str, keys: tuple[str, ...], args: tuple[int, ...]) -> bytes:
    return command((Call(script, keys, args),))


def command(calls: Sequence[Call], whole: bool = False) -> bytes:
    """The RESP bytes that run `calls` as one script; `whole` sends its source too (after NOSCRIPT)."""
    if len(calls) == 1 and calls[0].script == _ALONE:
        call = calls[0]
        return b"".join([_head_alone(whole), *[_text(key.encode()) for key in call.keys], _argument_of(call)])
    keys = [_key(key) for call in calls for key in call.keys]
    if len(calls) == 1 and _is_check(calls[0]):
        return b"".join([_head_of_check(whole), *keys, _argument(calls[0].script, 1, calls[0].args)])
    arguments = [_argument_of(call) for call in calls]
    head = b"*%d\r\n" % (3 + len(keys) + len(arguments))
    return b"".join([head, _eval() if whole else _evalsha(), _text(b"%d" % len(keys)), *keys, *arguments])


def reply(text: object) -> Reply | StoreError:
    """The reply in the `text` of one call; as for `replies`."""
    if isinstance(text, bytes) and text[:1] >= b"-" and b"\n" not in text:  # numbers, as almost always
        try:
            return list(map(int, text.split()))
        except ValueError:
            pass
    return replies(text, 1)[0]


def replies(text: object, expected: int) -> list[Reply | StoreError]:
    """The replies in `text`, one per call; a call that failed alone is an error in its place. Raises: StoreError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    lines = text.split("\n") if isinstance(text, str) else []
    if len(lines) != expected:
        raise StoreError(f"the store answered {len(lines)} of {expected} calls; is it a Redis?")
    return [_reply(line) for line in lines]


def confirmed(reply: Reply, replicas: int) -> Reply:
    """A reply that ends with how many replicas have what was written."""
    return Worded([*reply, replicas], words_of(reply))


def failure(error: Exception, what: str) -> StoreError:
    """What `error`, raised while `what` was asked as a whole, means."""
    message = f"{what} failed: {type(error).__name__}: {_said(error)[:200]}"
    if isinstance(error, OutOfMemoryError):
        return StoreFull(message)
    return StoreRefused(message) if isinstance(error, ResponseError | BusyLoadingError) else StoreError(message)


def _said(error: Exception) -> str:
    """What an error says. Older releases of redis-py leave the reason why a connection failed in what caused it."""
    cause = error.__cause__ or error.__context__
    reason = str(cause.args[-1]) if cause is not None and cause.args else ""
    return str(error) if reason in str(error) else f"{error} ({reason})"


def _reply(line: str) -> Reply | StoreError:
    try:
        if line[:1] < "-":  # the characters in front of a number: "!" before an error, "'" before numbers and words
            return _refusal(line[1:201]) if line[:1] == "!" else _with_words(line[1:])
        return list(map(int, line.split()))
    except ValueError:
        return CallFailed("the store answered a call with something else than numbers and words")


def _with_words(line: str) -> Reply:
    numbers, mark, words = line.partition(" '")
    return Worded([int(number) for number in numbers.split()], words.split(" '") if mark else ())


def _refusal(text: str) -> StoreError:
    """What the error of one call means: it may be about the server all the same, where only the write inside was refused."""
    found = _CODE.match(text)
    code = found[1] if found else ""
    if code == "OOM":
        return StoreFull(f"the store has no memory left: {text}")
    if code in _STATES or _RIGHTS.search(text):
        return StoreRefused(f"the store refused a call: {text}")
    return CallFailed(f"a call failed alone: {text}")
