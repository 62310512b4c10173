"""Settings: where each comes from, what is refused, and that secrets stay secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lockwatch import ConfigurationError, LockWatchConfig

SECRET = "correct-horse-battery-staple"
URL = "redis://user:hunter2-and-more@redis.internal:6380/3"


def read(environ: dict[str, str] | None = None, /, **options: Any) -> LockWatchConfig:
    return LockWatchConfig.from_mapping(options, environ or {})


# ------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [
        ("mode", "on", "'enforce', 'observe', 'off'"),
        ("mode", "Enforce", "'enforce', 'observe', 'off'"),
        ("mode", "", "'enforce', 'observe', 'off'"),
        ("mode", ["off"], "'enforce', 'observe', 'off'"),
        ("headers", "draft-10", "'both', 'draft-11', 'x', 'off'"),
        ("headers", True, "'both', 'draft-11', 'x', 'off'"),
        ("on_redis_failure", "ignore", "'allow', 'deny', 'local'"),
        ("on_redis_failure", False, "'allow', 'deny', 'local'"),
        ("forwarded_header", "x-real-ip", "'x-forwarded-for', 'forwarded'"),
        ("forwarded_header", "X-Forwarded-For", "'x-forwarded-for', 'forwarded'"),
        ("ipv6_prefix", 31, "32 to 128"),
        ("ipv6_prefix", 129, "32 to 128"),
        ("ipv6_prefix", "64", "32 to 128"),
        ("ipv6_prefix", True, "32 to 128"),
        ("ipv6_prefix", 64.5, "32 to 128"),
        ("store_timeout", 0, "0.001 to 10"),
        ("store_timeout", -1, "0.001 to 10"),
        ("store_timeout", 11, "0.001 to 10"),
        ("store_timeout", float("nan"), "0.001 to 10"),
        ("store_timeout", float("inf"), "0.001 to 10"),
        ("store_timeout", "50ms", "0.001 to 10"),
        ("store_connections", 0, "1 to 1024"),
        ("store_connections", 1025, "1 to 1024"),
        ("store_connections", 1.5, "1 to 1024"),
        ("max_buckets", 0, "1 to"),
        ("max_buckets", 10**10, "1 to"),
        ("max_buckets", 10.5, "1 to"),
        ("workers", 0, "1 to 4096"),
        ("workers", 5000, "1 to 4096"),
        ("workers", 2.5, "1 to 4096"),
        ("rate_limit_requests", -1, "0 to"),
        ("rate_limit_requests", 2**41, "0 to"),
        ("rate_limit_requests", "100", "0 to"),
        ("rate_limit_requests", 1.5, "0 to"),
        ("rate_limit_window_seconds", 0, "0.001 to"),
        ("rate_limit_window_seconds", -60, "0.001 to"),
        ("rate_limit_window_seconds", "60", "0.001 to"),
        ("namespace", "", "'shop-api'"),
        ("namespace", "a:", "'shop-api'"),
        ("namespace", ":a", "'shop-api'"),
        ("namespace", "a{b", "'shop-api'"),
        ("namespace", "a}b", "'shop-api'"),
        ("namespace", "a b", "'shop-api'"),
        ("namespace", "a\nb", "'shop-api'"),
        ("namespace", 5, "'shop-api'"),
        ("namespace", b"shop", "'shop-api'"),
        ("redis_url", "", "'redis://localhost:6379/0'"),
        ("redis_url", "  ", "'redis://localhost:6379/0'"),
        ("mode", None, "'enforce', 'observe', 'off'"),
        ("headers", None, "'both', 'draft-11', 'x', 'off'"),
        ("forwarded_header", None, "'x-forwarded-for', 'forwarded'"),
        ("ipv6_prefix", None, "32 to 128"),
        ("store_timeout", None, "0.001 to 10"),
        ("store_connections", None, "1 to 1024"),
        ("max_buckets", None, "1 to"),
        ("rate_limit_window_seconds", None, "0.001 to"),
        ("namespace", None, "'shop-api'"),
        ("exempt_paths", "healthz", "'/healthz'"),
        ("exempt_paths", ("/healthz", "*"), "'/static/*'"),
        ("exempt_paths", ["/*/health"], "'/static/*'"),
        ("exempt_paths", (b"/healthz",), "'/healthz'"),
        ("secret_key", "too-short", "secrets.token_urlsafe(32)"),
        ("secret_key", "", "secrets.token_urlsafe(32)"),
        ("secret_key", (SECRET, "too-short"), "secrets.token_urlsafe(32)"),
        ("secret_key", 1234567890123456, "secrets.token_urlsafe(32)"),
        ("secret_key", b"correct-horse-battery", "secrets.token_urlsafe(32)"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name_with_what_would(option: str, value: Any, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LockWatchConfig(**{option: value})
    message = str(caught.value)
    assert option in message
    assert shown in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("LOCKWATCH_MODE", "on"),
        ("LOCKWATCH_HEADERS", "none"),
        ("LOCKWATCH_ON_REDIS_FAILURE", "ignore"),
        ("LOCKWATCH_IPV6_PREFIX", "sixty-four"),
        ("LOCKWATCH_IPV6_PREFIX", "64.0"),
        ("LOCKWATCH_IPV6_PREFIX", "16"),
        ("LOCKWATCH_STORE_TIMEOUT", "50ms"),
        ("LOCKWATCH_STORE_TIMEOUT", "nan"),
        ("LOCKWATCH_STORE_CONNECTIONS", "many"),
        ("LOCKWATCH_MAX_BUCKETS", "1e6"),
        ("LOCKWATCH_WORKERS", "-1"),
        ("LOCKWATCH_RATE_LIMIT_REQUESTS", "100/minute"),
        ("LOCKWATCH_RATE_LIMIT_WINDOW_SECONDS", "1m"),
        ("LOCKWATCH_NAMESPACE", "a:"),
        ("LOCKWATCH_SECRET_KEY", "too-short"),
        ("LOCKWATCH_EXEMPT_PATHS", "/healthz, metrics"),
    ],
)
def test_a_variable_that_cannot_work_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({variable: text})
    assert variable.removeprefix("LOCKWATCH_").lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("redis_ur", "redis_url"),
        ("redisurl", "redis_url"),
        ("name_space", "namespace"),
        ("secretkey", "secret_key"),
        ("trusted_proxy", "trusted_proxies"),
        ("default_limit", "default_limits"),
        ("ratelimit_requests", "rate_limit_requests"),
        ("header", "headers"),
        ("worker", "workers"),
        ("on_redis_fail", "on_redis_failure"),
    ],
)
def test_an_unknown_option_suggests_the_nearest_name(option: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**{option: 1})
    assert repr(option) in str(caught.value)
    assert f"did you mean {nearest!r}?" in str(caught.value)


def test_an_option_like_none_other_lists_them_all() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(zzzzqqqq=1)
    assert all(name in str(caught.value) for name in ("redis_url", "namespace", "default_limits", "mode"))


def test_where_values_came_from_is_no_setting() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'sources'"):
        read(sources={"mode": "argument"})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mode", "off"),
        ("headers", "draft-11"),
        ("on_redis_failure", None),
        ("rate_limit_requests", None),
        ("redis_url", None),
        ("ipv6_prefix", 32),
        ("ipv6_prefix", 128),
        ("store_timeout", 0.001),
        ("store_timeout", 10),
        ("store_connections", 1),
        ("workers", None),
        ("workers", 4096),
        ("rate_limit_requests", 0),
        ("rate_limit_window_seconds", 0.5),
        ("namespace", "shop-api_2.eu/v1"),
        ("secret_key", None),
        ("secret_key", "x" * 16),
        ("secret_key", (SECRET, "y" * 16)),
        ("secret_key", [SECRET, "y" * 16]),
    ],
)
def test_a_value_at_the_edge_of_what_works_is_taken(option: str, value: Any) -> None:
    taken = getattr(read(**{option: value}), option)
    assert taken == (tuple(value) if isinstance(value, list) else value)


def test_the_defaults_work() -> None:
    config = read()
    assert (config.mode, config.headers, config.trusted_proxies, config.namespace) == ("enforce", "both", "none", "lockwatch")
    assert (config.ipv6_prefix, config.store_timeout, config.on_redis_failure) == (64, 0.05, None)
    assert config.in_memory
    assert config.secrets == ()
    assert config.sources == {}


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().mode = "off"  # type: ignore[misc]


# --------------------------------------------------------------------- order
def test_argument_then_variable_then_file_then_default(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("of-the-file\n")
    named_file = {"LOCKWATCH_NAMESPACE_FILE": str(file)}
    variable = {**named_file, "LOCKWATCH_NAMESPACE": "of-the-variable"}
    assert read(variable, namespace="of-the-argument").namespace == "of-the-argument"
    assert read(variable).namespace == "of-the-variable"
    assert read(named_file).namespace == "of-the-file"
    assert read().namespace == "lockwatch"


def test_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    environ = {"LOCKWATCH_MODE": "observe", "LOCKWATCH_SECRET_KEY_FILE": str(file), "LOCKWATCH_NAMESPACE": "a"}
    assert read(environ, namespace="b").sources == {
        "mode": "LOCKWATCH_MODE",
        "secret_key": "LOCKWATCH_SECRET_KEY_FILE",
        "namespace": "argument",
    }


def test_an_argument_of_none_is_an_argument() -> None:
    assert read({"LOCKWATCH_REDIS_URL": URL}, redis_url=None).redis_url is None


def test_an_empty_variable_is_not_set() -> None:
    config = read({"LOCKWATCH_MODE": "", "LOCKWATCH_MODE_FILE": ""})
    assert config.mode == "enforce"
    assert config.sources == {}


def test_variables_become_values_of_the_right_kind() -> None:
    config = read(
        {
            "LOCKWATCH_STORE_TIMEOUT": "0.2",
            "LOCKWATCH_STORE_CONNECTIONS": "8",
            "LOCKWATCH_MAX_BUCKETS": "1000",
            "LOCKWATCH_IPV6_PREFIX": "56",
            "LOCKWATCH_WORKERS": "4",
            "LOCKWATCH_RATE_LIMIT_REQUESTS": "100",
            "LOCKWATCH_RATE_LIMIT_WINDOW_SECONDS": "1.5",
            "LOCKWATCH_EXEMPT_PATHS": "/health, /static/*,",
            "LOCKWATCH_SECRET_KEY": f"{SECRET}, {'o' * 20}",
            "LOCKWATCH_TRUSTED_PROXIES": "10.0.0.0/8, 192.168.0.0/16",
            "LOCKWATCH_DEFAULT_LIMITS": "100/minute; 1000/day",
            "LOCKWATCH_APPLICATION_LIMITS": "5000/hour",
        }
    )
    assert (config.store_timeout, config.store_connections, config.max_buckets) == (0.2, 8, 1000)
    assert (config.ipv6_prefix, config.workers) == (56, 4)
    assert (config.rate_limit_requests, config.rate_limit_window_seconds) == (100, 1.5)
    assert config.exempt_paths == ("/health", "/static/*")
    assert config.secrets == (SECRET, "o" * 20)
    assert config.trusted_proxies == "10.0.0.0/8, 192.168.0.0/16"
    assert (config.default_limits, config.application_limits) == ("100/minute; 1000/day", "5000/hour")


@pytest.mark.parametrize("variable", ["LOCKWATCH_REDIS", "LOCKWATCH_USER", "LOCKWATCH_SOURCES", "LOCKWATCH_NOTHING_OF_OURS"])
def test_what_only_code_can_say_is_not_read_from_the_environment(variable: str) -> None:
    assert read({variable: "x"}) == read()
    assert LockWatchConfig.from_env({variable: "x"}) == read()


def test_the_environment_of_the_process_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKWATCH_NAMESPACE", "of-this-process")
    monkeypatch.setenv("REDIS_URL", URL)
    assert LockWatchConfig.from_mapping({}).namespace == "of-this-process"
    assert LockWatchConfig.from_mapping({}).redis_url is None
    assert LockWatchConfig.from_env().redis_url == URL


# --------------------------------------------------------- the names of 0.1
def test_a_bare_name_counts_where_the_environment_is_asked_for() -> None:
    config = LockWatchConfig.from_env({"REDIS_URL": URL})
    assert config.redis_url == URL
    assert config.sources == {"redis_url": "REDIS_URL"}


def test_a_bare_name_never_counts_silently() -> None:
    config = read({"REDIS_URL": URL})
    assert config.redis_url is None
    assert config.in_memory


def test_our_own_name_counts_before_a_bare_one(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://of-the-file")
    both = {"REDIS_URL": URL, "LOCKWATCH_REDIS_URL": "redis://ours"}
    assert LockWatchConfig.from_env(both).redis_url == "redis://ours"
    assert LockWatchConfig.from_env({"REDIS_URL": URL, "LOCKWATCH_REDIS_URL_FILE": str(file)}).redis_url == "redis://of-the-file"


# --------------------------------------------------------------------- files
def test_a_file_is_read_without_its_last_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\r\n")
    assert read({"LOCKWATCH_SECRET_KEY_FILE": str(file)}).secrets == (SECRET,)


@pytest.mark.parametrize("missing", ["nothing-there", "."])
def test_a_file_that_cannot_be_read_is_refused_by_variable_and_path(tmp_path: Path, missing: str) -> None:
    path = str(tmp_path / missing)
    with pytest.raises(ConfigurationError) as caught:
        read({"LOCKWATCH_SECRET_KEY_FILE": path})
    assert "LOCKWATCH_SECRET_KEY_FILE" in str(caught.value)
    assert repr(path) in str(caught.value)


def test_a_file_that_is_no_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"very-secret-bytes-\xff\xfe")
    with pytest.raises(ConfigurationError, match="LOCKWATCH_SECRET_KEY_FILE") as caught:
        read({"LOCKWATCH_SECRET_KEY_FILE": str(file)})
    assert "very-secret-bytes" not in str(caught.value)
    assert "very-secret-bytes" not in repr(caught.value.__cause__)


# ------------------------------------------------------------------- secrets
@pytest.mark.parametrize("show", [repr, str, lambda c: repr(dataclasses.replace(c, mode="off")), lambda c: f"{c!r:>10}"])
def test_secrets_and_addresses_do_not_show(show: Any, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    for config in (
        read(secret_key=SECRET, redis_url=URL),
        read(secret_key=(SECRET, "old-" + SECRET), redis=URL),
        read({"LOCKWATCH_SECRET_KEY_FILE": str(file), "LOCKWATCH_REDIS_URL": URL}),
        LockWatchConfig.from_env({"LOCKWATCH_SECRET_KEY": SECRET, "REDIS_URL": URL}),
    ):
        shown = show(config)
        assert SECRET not in shown
        assert "hunter2" not in shown
        assert "redis.internal" not in shown


@pytest.mark.parametrize("secret", ["hunter2", ("hunter2",), (SECRET, "hunter2")])
def test_a_secret_that_is_refused_is_not_shown(secret: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(secret_key=secret)
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_one_secret_is_a_list_of_one() -> None:
    assert read(secret_key=SECRET).secrets == (SECRET,)
    assert read(secret_key=[SECRET, "b" * 16]).secrets == (SECRET, "b" * 16)


# -------------------------------------------------------------------- derived
@pytest.mark.parametrize(
    ("options", "in_memory"),
    [({}, True), ({"redis_url": "memory://"}, True), ({"redis_url": URL}, False), ({"redis": object()}, False)],
)
def test_buckets_live_in_memory_unless_a_store_is_named(options: dict[str, Any], in_memory: bool) -> None:
    assert read(**options).in_memory is in_memory


@pytest.mark.parametrize(
    ("workers", "variable", "processes"),
    [(None, "", 1), (None, "4", 4), (None, "0", 1), (None, "auto", 1), (None, "-2", 1), (None, "\u00b2", 1), (3, "4", 3)],
)
def test_processes_are_counted_as_told(monkeypatch: pytest.MonkeyPatch, workers: int | None, variable: str, processes: int) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", variable)
    assert read(workers=workers).processes == processes
