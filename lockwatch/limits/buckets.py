"""Bucket keys: namespace, schema, algorithm, hashed subject, policy and scope.

A subject (an address, a user, an API key) never becomes part of a key itself: it is hashed with a key derived from the
application's secret. The hash stands in braces, so that all buckets of a subject share one slot of a Redis Cluster.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from typing import Final

from lockwatch.limits.policy import ALGORITHMS, Policy

SCHEMA: Final = "1"
"""Layout of keys and values; a release that changes it can share a store with the one before."""
_REMEMBERED: Final = 8192
_TENANTS: Final = 1024
MAX_REMEMBERED: Final = 256
"""Characters of a subject that is remembered; a client chooses how long its API key is."""


def derive_key(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose: HKDF-Extract and one block of HKDF-Expand with SHA-256 (RFC 5869)."""
    extracted = hmac.digest(b"lockwatch", secret, "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


class Buckets:
    """Names store keys. Remembers recently hashed subjects, at most 8,192 of at most 256 characters."""

    __slots__ = ("_hashed", "_key", "_namespace", "_prefix", "_tenants")

    def __init__(self, namespace: str, secret: bytes) -> None:
        self._namespace = namespace
        self._key = derive_key(secret, "subject")
        self._hashed: dict[str, str] = {}
        self._prefix = b""
        self._tenants: dict[str, Buckets] = {}

    def under(self, tenant: str) -> Buckets:
        """The names of one tenant's keys: its subjects are nobody else's. Remembers at most 1,024 tenants."""
        found = self._tenants.get(tenant)
        if found is None:
            if len(self._tenants) >= _TENANTS:
                self._tenants.clear()
            found = self._tenants[tenant] = Buckets.__new__(Buckets)
            found._namespace, found._key, found._hashed, found._tenants = self._namespace, self._key, {}, {}
            found._prefix = b"tenant\x00%b\x00" % tenant.encode("utf-8", "surrogatepass")
        return found

    def __repr__(self) -> str:
        return f"Buckets(namespace={self._namespace!r})"

    def key(self, policy: Policy, subject: str) -> str:
        """The store key of `policy` for `subject`."""
        hashed = self._hashed.get(subject) or self._hash(subject)
        return f"{self._namespace}:{SCHEMA}:{ALGORITHMS[policy.algorithm]}:{{{hashed}}}:{policy.bucket}"

    def name(self, kind: str, subject: str, tail: str) -> str:
        """The store key of something else that is kept of `subject`; all that is kept of it shares a slot of a cluster."""
        hashed = self._hashed.get(subject) or self._hash(subject)
        return f"{self._namespace}:{SCHEMA}:{kind}:{{{hashed}}}:{tail}"

    def derived(self, purpose: str) -> bytes:
        """A key for another purpose, the same in all processes of the namespace."""
        return derive_key(self._key + self._namespace.encode(), purpose)

    def _hash(self, subject: str) -> str:
        digest = blake2s(self._prefix + subject.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).hexdigest()
        if len(subject) <= MAX_REMEMBERED:
            if len(self._hashed) >= _REMEMBERED:
                self._hashed.clear()
            self._hashed[subject] = digest
        return digest
