"""Store URLs that cannot mean what they say."""

from __future__ import annotations

import pytest

from lockwatch import ConfigurationError, LockWatch


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/0?ssl_cert_reqs=none", "without TLS"),
        ("rediss://h/0?ssl_cert_reqs=bogus", "none, optional, required"),
        ("rediss://h/0?ssl_foo=1", "ssl_foo"),
        ("redis://h/abc", "'abc'"),
        ("redis://h/0?foo=bar", "'foo'"),
        ("redis+sentinel://h/mymaster/x", "cannot be read"),
        ("redis+cluster://h/abc", "'abc'"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_construction(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        LockWatch(redis_url=url)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://h/3?socket_timeout=5&max_connections=9",
        "rediss://h/0?ssl_cert_reqs=optional",
        "unix:///run/r.sock?db=2",
    ],
)
def test_a_url_that_can_is_not(url: str) -> None:
    LockWatch(redis_url=url)
