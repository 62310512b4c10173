"""The configuration reference says what the code says, and the code does what it says."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from typing import Any

import pytest

from lockwatch import options
from lockwatch.config import LockWatchConfig
from tests import reference

SAMPLES: dict[str, str] = {
    "redis_url": "memory://",
    "namespace": "shop",
    "secret_key": "0123456789abcdef",
    "default_limits": "5/minute",
    "application_limits": "5/minute",
    "auth_failures": "5/minute",
    "meta_limits": "5/minute",
    "exempt_paths": "/healthz",
    "forwarded_header": "forwarded",
    "ipv6_prefix": "56",
    "on_redis_failure": "deny",
    "mode": "observe",
    "jwt_secret": "0123456789abcdef0123456789abcdef",
    "headers": "x",
    "webhook_urls": "https://hooks.example.com/lockwatch",
    "webhook_secrets": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "slack_urls": "https://hooks.slack.example/services/x",
    "allow_private_webhooks": "true",
    "audit_migrate": "false",
    "audit_pii": "hash",
    "audit_exempt_paths": "/healthz",
    "audit_synchronous": "full",
    "on_audit_failure": "deny",
}
"""A value of each option that is read from text and does not take "2"."""
NAMES = [field.name for field in fields(LockWatchConfig) if field.name != "sources"]
FROM_TEXT = [name for name in NAMES if name not in options.CODE_ONLY]


def rows() -> dict[str, list[str]]:
    """The rows of the page about options of `LockWatch`."""
    text = reference.PAGE.read_text("utf-8").partition("## JWTConfig")[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells}


def test_the_page_is_what_the_code_says() -> None:
    assert reference.PAGE.read_text("utf-8") == reference.page(), "write it anew with: uv run python -m tests.reference"


def test_every_option_is_there_once_with_its_default() -> None:
    documented = {name: ast.literal_eval(row[2].strip("`")) for name, row in rows().items()}
    actual = {field.name: field.default for field in fields(LockWatchConfig) if field.name != "sources"}
    assert documented == actual
    assert {name: type(value) for name, value in documented.items()} == {name: type(value) for name, value in actual.items()}


@pytest.mark.parametrize("name", FROM_TEXT)
def test_the_variable_and_the_key_in_flask_are_read(name: str) -> None:
    _, _, _, key, environment, _ = rows()[name]
    text = SAMPLES.get(name, "2")
    variables = [key.strip("`"), *[part.strip("` ") for part in environment.split(",")[1:]]]
    found = [LockWatchConfig.from_env({variable: text}) for variable in variables]
    assert [dict(config.sources) for config in found] == [{name: variable} for variable in variables]
    for config in (*found, LockWatchConfig.from_settings({variables[0]: text}, {})):
        assert getattr(config, name) == getattr(found[0], name) != next(f.default for f in fields(config) if f.name == name)


@pytest.mark.parametrize("name", sorted(options.CODE_ONLY - {"sources"}))
def test_what_no_variable_can_say_flask_takes_as_it_is(name: str) -> None:
    _, _, _, key, environment, _ = rows()[name]
    assert environment == "none"
    assert name not in LockWatchConfig.from_env({f"LOCKWATCH_{name.upper()}": "1"}).sources
    marker: Any = object()
    assert getattr(LockWatchConfig.from_settings({key.strip("`"): marker}, {}), name) is marker


@dataclass
class Undescribed:
    """Settings of which one has no sentence.

    Attributes:
        one: the first.
    """

    one: int = 1
    two: int = 2


@dataclass
class Untyped:
    """Settings of which one has a type that says nothing.

    Attributes:
        one: the first.
    """

    one: Any = None


def test_an_option_without_a_sentence_fails() -> None:
    with pytest.raises(KeyError, match="two"):
        list(reference.options_of(Undescribed, {}, {}))


def test_an_option_whose_type_says_nothing_fails() -> None:
    with pytest.raises(KeyError, match="say in UNTYPED what that is"):
        list(reference.options_of(Untyped, {}, {}))
