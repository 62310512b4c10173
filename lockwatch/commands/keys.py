"""`lockwatch keys`: signing keys in a file, replaced without breaking a token."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import click

from lockwatch.commands.group import group
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError, UnsafeStep
from lockwatch.tokens import keyfile, rotation
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.jwks import publish
from lockwatch.tokens.keys import key_of_pem
from lockwatch.tokens.rotation import Entry, KeyFile

_FILE: Final = click.argument("path", metavar="FILE")
_COMPROMISED: Final = click.option(
    "--compromised", is_flag=True, help="The key is in wrong hands: do it now. Tokens signed with it stop being valid."
)


@group()
def keys() -> None:
    """Make and replace the keys that tokens are signed with.

    FILE is a key file, or a directory that holds or will hold keys.json. Give its path to JWTConfig as rsa_private_key_path.
    """


@keys.command()
@_FILE
@click.option("--algorithm", type=click.Choice(["RS256", "ES256"]), default="RS256", show_default=True)
@click.option("--bits", type=click.IntRange(2048, 8192), default=2048, show_default=True, help="Size of an RSA key.")
@click.option("--token-ttl", type=click.IntRange(1), metavar="SECONDS", help="How long a token lives at most, if above a day.")
@JSON
def generate(path: str, algorithm: str, bits: int, token_ttl: int | None, as_json: bool) -> None:
    """Make a key. The first one signs at once, later ones after `rotate`."""

    def step(file: KeyFile, now: float) -> KeyFile:
        if token_ttl is not None:
            file = replace(file, token_seconds=max(file.token_seconds, token_ttl))
        pem = keyfile.new_pem(algorithm, bits)
        return rotation.added(file, key_of_pem(pem, engine_named("python-jose")).kid, algorithm, pem, now)

    _tell(_changed(path, step, new=True), as_json)


@keys.command(name="list")
@_FILE
@JSON
def list_(path: str, as_json: bool) -> None:
    """Print the keys, without their private parts."""
    with _trouble():
        file = keyfile.read_file(keyfile.file_at(path))
    _tell(file, as_json)


@keys.command()
@_FILE
@_COMPROMISED
@JSON
def rotate(path: str, compromised: bool, as_json: bool) -> None:
    """Sign with the next key from now on; the current one goes on verifying."""
    _tell(_changed(path, lambda file, now: rotation.rotated(file, now, compromised=compromised)), as_json)


@keys.command(context_settings={"ignore_unknown_options": True})  # one kid in 64 begins with a dash
@_FILE
@click.argument("kid")
@_COMPROMISED
@JSON
def retire(path: str, kid: str, compromised: bool, as_json: bool) -> None:
    """Forget a key that no token alive was signed with."""
    _tell(_changed(path, lambda file, now: rotation.retired(file, kid, now, compromised=compromised)), as_json)


@keys.command()
@_FILE
@click.option("--json", is_flag=True, expose_value=False, help="As always: a key set is JSON.")
def jwks(path: str) -> None:
    """Print the public keys as a JSON Web Key Set."""
    with _trouble():
        file, engine = keyfile.read_file(keyfile.file_at(path)), engine_named("python-jose")
        document = publish([key_of_pem(entry.pem, engine, entry.algorithm) for entry in file.entries])
    click.echo(json.dumps(json.loads(document.body), indent=2))


def _changed(path: str, step: Callable[[KeyFile, float], KeyFile], new: bool = False) -> KeyFile:
    """Take a step on a key file. Raises: Unusable."""
    with _trouble():
        target = keyfile.file_at(path)
        with keyfile.locked(target):
            before = KeyFile() if new and not target.exists() else keyfile.read_file(target)
            after = step(before, time.time())
            keyfile.replace_file(target, after)
    return after


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except UnsafeStep as error:
        raise click.ClickException(str(error)) from None
    except LockwatchError as error:
        raise Unusable(str(error)) from None


def _tell(file: KeyFile, as_json: bool) -> None:
    if as_json:
        print_json([{"kid": e.kid, "algorithm": e.algorithm, "state": e.state, "since": e.since} for e in file.entries])
        return
    for entry in file.entries:
        click.echo(f"{entry.kid}  {entry.algorithm}  {entry.state:<8}  since {_day(entry.since)}{_outlook(file, entry)}")


def _outlook(file: KeyFile, entry: Entry) -> str:
    if entry.state == "next":
        return f", can sign from {_day(entry.since + file.publish_seconds)}"
    return f", can be retired from {_day(rotation.retirement(file, entry))}" if entry.state == "retiring" else ""


def _day(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
