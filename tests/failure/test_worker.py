"""The thread in the background: begins with the first job, ends with the last, and is nobody's burden at the end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lockwatch.worker import Worker

SOON = 20.0


def until(true: Callable[[], bool]) -> bool:
    """Wait for something that another thread does."""
    ends = time.monotonic() + SOON
    while not true() and time.monotonic() < ends:
        time.sleep(0.002)
    return true()


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(capacity=10)
    yield worker
    assert worker.close(SOON)


class Counter:
    """Counts how often it was called, and in which threads."""

    def __init__(self, fails: bool = False) -> None:
        self.calls = 0
        self.fails = fails
        self.threads: set[int] = set()

    async def __call__(self) -> None:
        await self.count()

    async def count(self) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.fails:
            raise ValueError("no")


def test_it_runs_jobs_again_and_again_in_one_thread_of_its_own(worker: Worker) -> None:
    first, second = Counter(), Counter()
    jobs = [worker.every("first", 0.001, first), worker.every("second", 0.001, second)]
    assert until(lambda: min(first.calls, second.calls) > 10)
    assert first.threads == second.threads
    assert threading.get_ident() not in first.threads
    assert worker.state == "running"
    for job in jobs:
        job.cancel()
    assert until(lambda: worker.state == "idle")
    calls = first.calls
    time.sleep(0.02)
    assert first.calls == calls


def test_it_begins_again_after_it_ended(worker: Worker) -> None:
    for _ in range(20):
        done = Counter()
        assert worker.post("once", done)
        assert until(lambda done=done: done.calls == 1)
    assert until(lambda: worker.state == "idle")


def test_jobs_come_and_go_from_many_threads(worker: Worker) -> None:
    done = [Counter() for _ in range(8)]

    def come_and_go(counter: Counter) -> None:
        for _ in range(50):
            job, calls = worker.every("job", 0.001, counter), counter.calls
            assert until(lambda calls=calls: counter.calls > calls)
            job.cancel()

    threads = [threading.Thread(target=come_and_go, args=(counter,)) for counter in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(counter.calls for counter in done) >= 50
    assert until(lambda: worker.state == "idle")


def test_a_failing_job_goes_on_and_is_said_once_until_it_works(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    job = Counter(fails=True)
    worker.every("ship", 0.001, job)
    assert until(lambda: job.calls > 10)
    job.fails = False
    calls = job.calls
    assert until(lambda: job.calls > calls + 10)
    job.fails = True
    calls = job.calls
    assert until(lambda: job.calls > calls + 10)
    assert [(r.levelname, "ship" in r.message) for r in caplog.records] == [("ERROR", True), ("WARNING", True), ("ERROR", True)]


def test_posted_work_is_bounded(worker: Worker) -> None:
    release = threading.Event()

    async def wait() -> None:
        while not release.is_set():
            await asyncio.sleep(0.001)

    assert [worker.post("wait", wait) for _ in range(12)] == [True] * 10 + [False] * 2
    release.set()
    assert until(lambda: worker.post("wait", wait))


def test_a_job_ends_with_its_object(worker: Worker) -> None:
    counters, ended = [Counter()], Counter()
    worker.every("count", 0.001, counters[0].count, ending=ended)
    assert until(lambda: counters[0].calls > 3)
    counters.clear()
    gc.collect()
    assert until(lambda: ended.calls == 1)
    assert until(lambda: worker.state == "idle")


def test_closing_ends_jobs_that_hang_and_runs_their_ending() -> None:
    worker, ended, begun = Worker(), Counter(), threading.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.sleep(3600)

    worker.every("hang", 1, hang, ending=ended)
    worker.post("hang", hang)
    assert begun.wait(SOON)
    began = time.monotonic()
    assert worker.close()
    assert time.monotonic() - began < SOON
    assert ended.calls == 1
    assert not worker.post("late", ended)
    worker.every("late", 0.001, ended)
    assert (worker.state, ended.calls) == ("idle", 1)


def test_closing_does_not_wait_for_a_job_that_blocks() -> None:
    worker, begun, release = Worker(), threading.Event(), threading.Event()

    async def block() -> None:
        begun.set()
        release.wait(SOON)

    worker.post("block", block)
    assert begun.wait(SOON)
    assert not worker.close(timeout=0.05)
    release.set()
    assert worker.close(SOON)


def test_a_job_may_close_its_worker() -> None:
    worker = Worker()
    closed: list[bool] = []

    async def close() -> None:
        closed.append(worker.close())

    worker.post("close", close)
    assert until(lambda: closed == [True])


def test_without_threads_nothing_starts_and_health_can_say_why(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    for options, runs in (
        ({"processes": b"2"}, False),
        ({"processes": b"2", "enable-threads": True}, True),
        ({b"threads": b"2"}, True),
    ):
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))  # type: ignore[arg-type]
        assert worker.post("once", counter) is runs
        assert ("--enable-threads" in worker.state) is not runs
        worker.every("job", 60, counter).cancel()
    monkeypatch.delitem(sys.modules, "uwsgi")
    assert until(lambda: counter.calls >= 2)


# ------------------------------------------------------------------ in processes of their own
def run(script: str, *arguments: str) -> str:
    """Run a script that has to end by itself, soon and without a warning."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


LINK = """
import asyncio, os, sys, time
from lockwatch.config import LockWatchConfig
from lockwatch.flow import Call
from lockwatch.link import Link

CALL = Call("admit", ("k",), (0, 0, 1000, 60_000_000, 0, 1))
link = Link(LockWatchConfig(redis_url=sys.argv[1], secret_key="0123456789abcdef", namespace=sys.argv[2], store_timeout=5.0), print)

def until(true):
    ends = time.monotonic() + 30
    while not true() and time.monotonic() < ends:
        time.sleep(0.01)
    return true()
"""


def test_the_interpreter_ends_at_once_and_without_a_warning(redis_server: str) -> None:
    out = run(
        LINK
        + textwrap.dedent("""
            import redis
            link.sync_store().call(CALL)
            with redis.Redis.from_url(sys.argv[1]) as client:
                assert until(lambda: client.zcard("exit:1:workers") == 1)
            async def take():
                return await link.async_store().call(CALL)
            assert asyncio.run(take())[1] == 998
            print(time.monotonic(), flush=True)
        """),
        redis_server,
        "exit",
    )
    assert time.monotonic() - float(out) < 15


@pytest.mark.parametrize("announced", [True, False], ids=["os.fork", "unannounced"])
def test_a_forked_child_has_a_worker_of_its_own_and_is_counted(redis_server: str, announced: bool) -> None:
    fork = "os.fork()" if announced else "__import__('ctypes').PyDLL(None).fork()"
    # A fork nobody announces must not come while a thread holds a lock of the interpreter.
    quiet = "" if announced else "time.sleep(0.5)"
    out = run(
        LINK
        + textwrap.dedent(f"""
            import warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads, from Python 3.12 on
            link.sync_store().call(CALL)
            {quiet}
            child = {fork}
            link.sync_store().call(CALL)
            if not child:
                os._exit(0 if until(lambda: link.workers == 2) else 1)
            seen = []
            async def see():
                seen.append(1)
            link.every(0.01, see)
            assert until(lambda: seen)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), link.worker)
        """),
        redis_server,
        "fork",
    )
    assert out.split() == ["0", "running"]


def test_under_gevent_both_may_import_the_same_at_once(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("from gevent import monkey\nmonkey.get_original('time', 'sleep')(0.3)\n")
    out = run(
        """
        from gevent import monkey
        monkey.patch_all()
        import gevent, sys
        from lockwatch.worker import shared

        sys.path.insert(0, sys.argv[1])
        nap = monkey.get_original("time", "sleep")

        async def job():
            import slow

        shared().post("job", job)
        while "slow" not in sys.modules:  # not through gevent: its hub is to have nothing else to wait for
            nap(0.001)
        import slow
        print("both")
        """,
        str(tmp_path),
    )
    assert out.split() == ["both"]


def test_under_gevent_it_is_a_native_thread_and_async_views_work(redis_server: str) -> None:
    out = run(
        "from gevent import monkey\nmonkey.patch_all()\nimport gevent\n"
        + LINK
        + textwrap.dedent("""
            async def view():
                await asyncio.sleep(0.001)
                return "view"

            link.sync_store().call(CALL)
            assert until(lambda: link.worker == "running")
            for _ in range(3):
                gevent.sleep(0.01)
                print(asyncio.run(view()))
            print(link.workers, link.notes.error or "fine")
            asyncio.run(link.aclose())
        """),
        redis_server,
        "gevent",
    )
    assert out.split() == ["view", "view", "view", "1", "fine"]
