"""`lockwatch demo` as its users meet it: real runs in processes of their own, and the decisions behind the claims."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import redis
from click.testing import CliRunner

from lockwatch.cli import main
from lockwatch.demo.claims import Answer, between, equal, latency, most_within, statuses, tally
from lockwatch.demo.command import serve_command
from lockwatch.demo.limits import coming_back_claims, refusal_claims
from lockwatch.demo.screen import Screen, table
from lockwatch.demo.sessions import stolen_claims
from lockwatch.demo.story import Context, Observed, Step, failed, tell
from tests import servers

PASSWORD = "hunter2-of-the-demo"
STRICT = [sys.executable, "-X", "dev", "-W", "error"]
# A run that says at its end what it left behind in its process.
WATCHED = """
import os, sys, threading, time
from lockwatch.cli import main
try:
    main()
finally:
    end = time.monotonic() + 20
    while threading.active_count() > 1 and time.monotonic() < end:
        time.sleep(0.01)  # the thread in the background ends by itself, nobody waits for it
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]
    print("left:", threading.active_count() - 1, "threads,", sum("socket" in link for link in links), "sockets", file=sys.stderr)
"""


@dataclass
class Run:
    """A demo in a process of its own."""

    process: subprocess.Popen[str]
    stdout: Path
    stderr: Path

    @property
    def out(self) -> str:
        return self.stdout.read_text("utf-8")

    @property
    def err(self) -> str:
        """What was said there; that a busy machine takes its time, as asyncio in its debug mode notes, aside."""
        said = self.stderr.read_text("utf-8").splitlines(keepends=True)
        return "".join(line for line in said if not (line.startswith("Executing <") and "took" in line))

    def wait(self) -> int:
        return self.process.wait(120)


def start(root: Path, name: str, how: list[str], *arguments: str) -> Run:
    """Start `lockwatch demo`, in an environment that should not matter to it."""
    hostile = {"LOCKWATCH_MODE": "off", "LOCKWATCH_HEADERS": "off", "WEB_CONCURRENCY": "4", "HTTP_PROXY": "http://127.0.0.1:9"}
    out, err = root / f"{name}.out", root / f"{name}.err"
    environment = {**os.environ, **hostile, "PYTHONIOENCODING": "utf-8"}
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [*STRICT, *how, "demo", *arguments]
        # A shell that runs the tests in the background has them ignore interrupts, and their children too.
        attend = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return Run(subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, env=environment, preexec_fn=attend), out, err)  # noqa: PLW1509


@pytest.fixture(scope="module")
def guarded_redis() -> Iterator[servers.Proc]:
    """A Redis with a password."""
    process = servers.start_redis("--requirepass", PASSWORD)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def runs(guarded_redis: servers.Proc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Three stories at the same time: served from memory, as JSON on Redis, and on a Redis that somebody keeps emptying."""
    root, url = tmp_path_factory.mktemp("demo"), f"redis://:{PASSWORD}@127.0.0.1:{guarded_redis.port}"
    started = {
        "served": start(root, "served", ["-m", "lockwatch.cli"], "--serve"),
        "json": start(root, "json", ["-c", WATCHED], "--json", "--redis", f"{url}/0"),
        "emptied": start(root, "emptied", ["-m", "lockwatch.cli"], "--redis", f"{url}/1"),
    }
    with redis.Redis.from_url(f"{url}/1") as client:
        while started["emptied"].process.poll() is None:
            client.flushdb()
            time.sleep(0.01)
    yield started
    for run in started.values():
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()


def test_every_claim_is_observed_then_it_serves_until_interrupted(runs: dict[str, Run]) -> None:
    run = runs["served"]
    url = address_served(run)
    with httpx.Client(base_url=url, trust_env=False) as client:
        by_hand = [client.get("/search").status_code for _ in range(12)]
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 0
    assert by_hand == [200] * 10 + [429] * 2, "the buckets of the story are not those of the visitor"
    claims = run.out.count("✓")
    assert f"All {claims} claims were observed" in run.out
    assert claims > 20
    assert "✗" not in run.out
    assert "\x1b" not in run.out + run.err
    waiting, *rest = run.err.splitlines()
    assert re.fullmatch(r"   waiting [1-5] s, as Retry-After said, and asking all the while", waiting)
    assert rest == [f"Serving on {url} until Ctrl-C.", "Stopped."]


def test_the_story_shows_admissions_refusals_and_a_whole_429(runs: dict[str, Run]) -> None:
    address_served(runs["served"])
    out = runs["served"].out
    assert re.search(r"GET /search +10/5 seconds +\d{2,3} +[12]\d +\d{2,3}\n", out)
    assert re.search(r"POST /login +5/minute +6 +5 +1\n", out)
    assert re.search(r"GET /health +none +100 +100 +0\n", out)
    assert re.search(r"HTTP/1.1 429 Too Many Requests\n +Content-Type: application/problem\+json\n +Retry-After: [1-5]\n", out)
    assert '"error": "rate_limit_exceeded"' in out
    assert "429: the application read         0 of 5,242,880 bytes" in out
    assert re.search(r"no limit +100 +\d+\.\d\d +\d+\.\d\d\n", out)


def test_the_story_ends_a_session_whose_token_was_stolen(runs: dict[str, Run]) -> None:
    address_served(runs["served"])
    out = runs["served"].out
    assert re.search(r"two tabs refresh with one token at once +200 200\n +the new access token +200\n", out)
    assert re.search(r"a thief uses the old token +400 invalid_grant\n", out)
    assert re.search(r"with the new token +400 invalid_grant\n +the new access token +401\n", out)


def test_a_session_that_goes_on_for_a_thief_is_no_claim_that_holds() -> None:
    refreshed = [replace(answer(0), body=json.dumps({"refresh_token": token})) for token in ("one", "another")]
    holds = [claim.holds for claim in stolen_claims(refreshed, answer(0), answer(1), answer(2), answer(3))]
    assert holds == [True, False, True, False, False, True, False]


def test_the_snippet_runs_as_printed(runs: dict[str, Run]) -> None:
    from fastapi.testclient import TestClient

    address_served(runs["served"])
    _, _, snippet = runs["served"].out.partition("In an application of your own:\n\n")
    names: dict[str, Any] = {}
    exec("\n".join(line.removeprefix("   ") for line in snippet.splitlines()), names)
    with TestClient(names["app"]) as client:
        assert [client.get("/search").status_code for _ in range(12)] == [200] * 10 + [429] * 2


def test_json_on_redis_holds_the_observations_and_no_secret(runs: dict[str, Run], guarded_redis: servers.Proc) -> None:
    run = runs["json"]
    status, report = run.wait(), json.loads(run.out)
    assert [step for step in report["steps"] if not all(claim["holds"] for claim in step["claims"])] == []
    assert status == 0, run.err
    assert (report["ok"], report["failed"], report["store"]) == (True, 0, f"127.0.0.1:{guarded_redis.port}")
    assert report["claims"] == sum(claim["holds"] for step in report["steps"] for claim in step["claims"]) > 20
    refusal = next(step["observed"] for step in report["steps"] if "told" in step["step"])
    assert refusal["body"]["retry_after"] == int(refusal["headers"]["Retry-After"])
    routes = {
        row["route"]: row["admitted"] for row in next(s["observed"] for s in report["steps"] if s["step"] == "Altogether")["routes"]
    }
    assert routes.pop("GET /search") in range(11, 20)  # ten at once, one that waited, and what a slow machine sends meanwhile
    sessions = {"POST /auth/refresh": 4, "GET /auth/sessions": 2}
    assert routes == {"POST /login": 5, "POST /upload": 1, "GET /items": 100, "GET /health": 100} | sessions
    assert not re.search(r"lwr1_|eyJ", run.out + run.err), "a token is printed"
    assert PASSWORD not in run.out + run.err


def test_a_run_leaves_no_thread_and_no_socket_and_its_keys_expire(runs: dict[str, Run], guarded_redis: servers.Proc) -> None:
    runs["json"].wait()
    assert runs["json"].err.splitlines()[-1] == "left: 0 threads, 0 sockets"
    with redis.Redis(port=guarded_redis.port, password=PASSWORD, decode_responses=True) as client:
        keys = cast("list[str]", client.keys())
        assert all(key.startswith("lockwatch-demo-") for key in keys)
        assert all(0 < cast("int", client.pttl(key)) <= 60_000 for key in keys)


def test_what_is_not_observed_is_said_and_exits_1(runs: dict[str, Run]) -> None:
    run = runs["emptied"]
    assert run.wait() == 1
    assert re.search(r"✗ exactly 10 of 60 .*\n +expected: 10 x 200, 50 x 429\n +seen: +\d+ x 200", run.out)
    assert re.search(r"\d+ of \d+ claims were not observed\.$", run.out.strip())
    assert "All " not in run.out
    assert "by hand" not in run.out
    assert PASSWORD not in run.out + run.err


def address_served(run: Run) -> str:
    """The URL, once it is served."""
    for _ in range(1200):
        if found := re.search(r"Serving on (\S+) until", run.err):
            return found[1]
        assert run.process.poll() is None, run.err
        time.sleep(0.1)
    raise AssertionError(run.err)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:s3cret-word@127.0.0.1:1", "cannot use the Redis at 127.0.0.1:1"),
        ("redis://:s3cret-word@127.0.0.1:port", "redis_url cannot be read"),
        ("ftp://:s3cret-word@127.0.0.1", "'ftp'"),
        ("s3cret-word", "--redis takes a URL"),
        ("s3cret-word@host://", "--redis takes a URL"),
        ("", "--redis takes a URL"),
    ],
)
def test_a_redis_that_cannot_be_used_is_one_line(url: str, said: str) -> None:
    result = CliRunner().invoke(main, ["demo", "--redis", url])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "s3cret" not in result.output


def test_a_refused_password_is_one_line_without_it(guarded_redis: servers.Proc) -> None:
    result = CliRunner().invoke(main, ["demo", "--redis", f"redis://:s3cret-word@127.0.0.1:{guarded_redis.port}"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "AuthenticationError" in result.stderr
    assert "s3cret" not in result.output


def test_a_redis_that_only_reads_is_refused_before_the_story(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+eval", "+evalsha", "+get", "+time"])
        try:
            result = CliRunner().invoke(main, ["demo", "--redis", redis_server.replace("://", "://reader:any@")])
        finally:
            client.acl_deluser("reader")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "cannot use the Redis" in result.stderr


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["demo", "--port", str(port)])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert f"cannot listen on port {port} (Address already in use)" in result.stderr
    assert "lockwatch-demo" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("arguments", [["--port", "65536"], ["--port", "http"], ["--redis"], ["--nonsense"]])
def test_options_that_make_no_sense_exit_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["demo", *arguments]).exit_code == 2


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_a_missing_extra_is_one_line_that_names_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from lockwatch.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "demo"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == f"Error: the demo needs {missing}: pip install 'lockwatch[demo]'\n"


def test_the_command_is_light_to_import() -> None:
    code = "import sys, lockwatch.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([*STRICT, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fastapi", "starlette", "uvicorn", "httpx", "redis", "asyncio", "pydantic"} & set(loaded)


def test_the_version_is_told() -> None:
    command = [*STRICT, "-m", "lockwatch.cli", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "lockwatch, version 0.2.0\n"


@pytest.mark.parametrize(
    ("environment", "coloured", "moving"),
    [({"TERM": "xterm"}, True, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_a_terminal_gets_what_it_can_show(environment: Mapping[str, str], coloured: bool, moving: bool) -> None:
    code = """
from lockwatch.demo.claims import equal
from lockwatch.demo.screen import Screen
screen = Screen()
screen.progress("soon", passing=True)
screen.claim(equal("one is one", 1, 1))
"""
    shown = on_terminal([sys.executable, "-c", code], environment)
    assert "✓" in shown
    assert ("\x1b[32m" in shown) is coloured
    assert ("soon" in shown) is moving
    assert ("\r        " in shown) is moving, "the moving line is erased"


def on_terminal(command: list[str], environment: Mapping[str, str]) -> str:
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**kept, **environment, "PYTHONIOENCODING": "utf-8"})
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass  # the end of a terminal
    os.close(ours)
    assert process.wait(30) == 0
    return shown.decode()


def test_marks_fall_back_to_ascii() -> None:
    code = "from lockwatch.demo.claims import equal; from lockwatch.demo.screen import Screen; Screen().claim(equal('so', 1, 2))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
    assert shown == "   FAILED so\n       expected: 1\n       seen:     2\n"


def answer(
    sent: float, status: int = 200, took: float = 0.01, route: str = "GET /search", alone: bool = True, **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(route, status, named, "", sent, sent + took, 0 if alone else None)


def test_claims_hold_only_for_what_was_seen() -> None:
    assert equal("so", 1, 1).holds
    assert not equal("so", 1, None).holds
    assert between("so", 1, 5, 5).holds
    assert not between("so", 1, 5, 6).holds
    assert not between("so", 1, 5, None).holds


def test_only_admissions_that_certainly_share_a_window_are_counted() -> None:
    within = [answer(0), answer(1), answer(4.98)]
    assert most_within(within, 5) == 3
    assert most_within([*within, answer(4.995)], 5) == 3, "it may have been decided after the window"
    assert most_within([*within, answer(2, status=429)], 5) == 3
    assert most_within([], 5) == 0


def test_coming_back_claims_fail_when_too_early_or_too_late() -> None:
    searches = [answer(0), answer(0.1, 429)]

    def holds(asked: list[Answer]) -> list[bool]:
        return [claim.holds for claim in coming_back_claims(searches, asked)]

    assert holds([answer(4.9, 429), answer(5.1)]) == [True, True, True]
    assert holds([answer(4.9), answer(5.1)]) == [False, True, True]
    assert holds([answer(4.9, 429), answer(5.1, 429)]) == [True, True, False]
    assert holds([answer(1 + n / 10) for n in range(10)] + [answer(5.1)]) == [False, False, True]


def test_a_refusal_that_says_nothing_proves_nothing() -> None:
    assert not any(claim.holds for claim in refusal_claims(answer(0, 200)))


def test_answers_are_counted_by_route() -> None:
    answers = [answer(0), answer(1, 429), answer(2, 200, route="GET /health")]
    assert [(t.route, t.limit, t.sent, t.admitted, t.refused) for t in tally(answers, {"GET /search": "1/day"})] == [
        ("GET /search", "1/day", 2, 1, 1),
        ("GET /health", "none", 1, 1, 0),
    ]
    assert statuses(answers) == "2 x 200, 1 x 429"


def test_a_percentile_is_a_measured_value_and_p99_needs_a_hundred() -> None:
    hundred = [answer(0, took=n / 1000) for n in range(1, 101)]
    taken = latency("all", [*hundred, answer(0, took=9, alone=False)])
    assert taken is not None
    assert (taken.requests, taken.p50, taken.p99) == (100, 50.0, 99.0)
    few = latency("few", hundred[:99])
    assert few is not None
    assert few.p99 is None
    assert latency("none", []) is None


def test_columns_are_aligned() -> None:
    assert table(("a", "bc"), [("long", 1), ("x", None), ("y", 2.5)]) == [
        "   a       bc",
        "   long     1",
        "   x        -",
        "   y     2.50",
    ]


def test_a_server_that_does_not_answer_ends_the_story_as_a_failed_claim() -> None:
    def unanswered(context: Context) -> Observed:
        raise httpx.ConnectError("refused")

    context = Context(cast("Any", None), cast("Any", None), Screen(story=False))
    told = tell([Step("one", unanswered), Step("two", unanswered)], context)
    assert [step["step"] for step in told] == ["one"]
    assert told[0]["claims"][0]["seen"] == "ConnectError: refused"
    assert failed(told) == 1


def test_the_command_to_serve_is_one_that_the_shell_finds() -> None:
    assert serve_command({}) == "lockwatch demo --serve --port 8000"
    assert serve_command({"UV_RUN_RECURSION_DEPTH": "1"}) == "uv run --all-extras lockwatch demo --serve --port 8000"
