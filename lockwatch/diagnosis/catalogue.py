"""Every kind of finding, with how bad it is. The codes are part of the public contract: scripts may look for them."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning"]


class Kind(NamedTuple):
    """How bad a finding is, and what it means."""

    severity: Severity
    meaning: str


CATALOGUE: Final[dict[str, Kind]] = {
    "configuration.debug": Kind("warning", "the application runs in debug mode, which shows its inside to strangers"),
    "configuration.invalid": Kind("error", "an option is wrong, or two contradict each other"),
    "configuration.observe": Kind("warning", "mode is `observe`: nobody is refused"),
    "configuration.off": Kind("error", "mode is `off`: nothing is decided"),
    "configuration.unknown": Kind("warning", "a `LOCKWATCH_` variable that nothing reads"),
    "configuration.unread": Kind("warning", "`REDIS_URL` or `JWT_SECRET` is set, which `LockWatch(app)` does not read"),
    "database.behind": Kind("error", "the tables are of another revision, and the application may not change them"),
    "database.down": Kind("error", "the database does not answer, or refuses the log-in"),
    "database.extra": Kind("error", "the libraries of the audit log are not installed"),
    "database.file-mode": Kind("error", "others may read the file of the audit log"),
    "database.missing": Kind("error", "there are no tables, and the application may not make them"),
    "database.outdated": Kind("warning", "the tables are missing or old; the application makes or changes them when it starts"),
    "database.partitions": Kind("warning", "the partition for tomorrow is not there"),
    "database.rights": Kind("warning", "the application may change or delete rows of the audit log"),
    "failure.open": Kind("warning", "a log-in is not limited while the store is down"),
    "failure.revoked": Kind("warning", "revoked tokens are believed while the store is down"),
    "keys.mode": Kind("error", "others may read the private keys"),
    "keys.old": Kind("warning", "the key that signs is older than a year"),
    "keys.retire": Kind("warning", "a key that no token alive was signed with is still there"),
    "keys.temporary": Kind("error", "tokens are signed with a key that ends with its process"),
    "proxies.everyone": Kind("error", "the server believes forwarded headers of anybody"),
    "proxies.twice": Kind("warning", "the address is taken from the header twice"),
    "proxies.untrusted": Kind("warning", "the platform has a proxy, and no proxy is trusted: all clients look like it"),
    "routes.late": Kind("warning", "a limit below a decorator that hides it: decided late, without quota headers"),
    "routes.lost": Kind("error", "a limit that nothing enforces"),
    "routes.no-lockwatch": Kind("error", "the application has no `LockWatch`"),
    "routes.tokens": Kind("error", "a route asks for a token, and nobody's tokens are believed"),
    "routes.twice": Kind("error", "every request is counted twice"),
    "routes.unprotected": Kind("warning", "routes have neither a limit nor a token"),
    "secret.missing": Kind("warning", "no `secret_key`: who reads the store can tell whom a key counts"),
    "secret.weak": Kind("error", "a secret that is easily guessed, or printed in some documentation"),
    "sessions.eviction": Kind("error", "the store forgets sessions and revocations when it is full"),
    "sessions.memory": Kind("warning", "sessions are in the memory of a process, and end with it"),
    "sessions.persistence": Kind("warning", "a restart of the store ends all sessions, and forgets what was revoked"),
    "spool.full": Kind("error", "there is no room for what the disk has to keep"),
    "spool.left": Kind("warning", "spools lie here that no process of this application adopts"),
    "spool.mode": Kind("error", "others may look into the directory, or it cannot be used"),
    "spool.network": Kind("error", "the directory is on a network file system, where it cannot work"),
    "spool.none": Kind("warning", "nothing is kept on disk: a killed process loses what it had not delivered"),
    "spool.temporary": Kind("warning", "the directory is one for temporary files"),
    "store.clock": Kind("warning", "the clocks of store and host differ"),
    "store.cluster": Kind("error", "the server is a node of a cluster, and the URL is not that of one"),
    "store.cluster-down": Kind("error", "the cluster does not serve all slots"),
    "store.down": Kind("error", "the store does not answer"),
    "store.eviction": Kind("warning", "the store forgets counts when it is full"),
    "store.full": Kind("warning", "the store has used nearly all of its memory"),
    "store.refuses": Kind("error", "the store answers, and refuses what limits need"),
    "store.replica": Kind("error", "the server is a replica, which cannot count"),
    "store.slow": Kind("warning", "the store often needs more than half of `store_timeout`"),
    "store.snapshot": Kind("error", "the last snapshot failed, so that the store may refuse to write"),
    "store.version": Kind("error", "the server is older than Redis 6.2"),
    "webhooks.nobody": Kind("warning", "attacks are looked for, and nobody is told"),
    "webhooks.private": Kind("warning", "alerts may go to private addresses"),
    "webhooks.unsigned": Kind("warning", "receivers cannot tell who wrote an alert"),
    "workers.memory": Kind("error", "several processes count in memory, each for itself"),
}
