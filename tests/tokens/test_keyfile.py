"""Key files on disk: only the owner reads them, they are replaced at once, and a running process follows them."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lockwatch.cli import main
from lockwatch.errors import ConfigurationError
from lockwatch.tokens import keyfile, rotation
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.keyfile import WatchedRing, file_at, open_ring, read_file, replace_file
from lockwatch.tokens.keys import key_of_pem
from lockwatch.tokens.rotation import KeyFile
from tests.tokens import forge

JOSE = engine_named("python-jose")


def keys(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, arguments)])


def done(*arguments: str | Path) -> str:
    result = keys(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def aged(path: Path, seconds: float) -> None:
    """As if every step on the file had been taken earlier."""
    document = json.loads(path.read_text())
    for entry in document["keys"]:
        entry["since"] -= seconds
    path.write_text(json.dumps(document))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "keys.json"
    done("generate", target, "--algorithm", "ES256")
    return target


# --------------------------------------------------------------------- commands
def test_a_key_goes_through_its_whole_life(path: Path) -> None:
    assert done("generate", path, "--algorithm", "ES256").count("\n") == 2
    refused = keys("rotate", path)
    assert refused.exit_code == 1
    assert "rotate from" in refused.output
    aged(path, 1000)
    listed = json.loads(done("list", path, "--json"))
    assert [entry["state"] for entry in listed] == ["current", "next"]
    assert "retiring" in done("rotate", path)
    old = listed[0]["kid"]
    early = keys("retire", path, old)
    assert early.exit_code == 1
    assert "tokens may live until" in early.output
    aged(path, 90_000)
    assert old not in done("retire", path, old)
    assert [entry["kid"] for entry in json.loads(done("list", path, "--json"))] == [listed[1]["kid"]]


def test_a_kid_that_begins_with_a_dash_is_no_option(path: Path) -> None:
    while not (key := key_of_pem(keyfile.new_pem("ES256", 2048), JOSE)).kid.startswith("-"):
        pass
    early = keys("retire", path, key.kid)
    assert early.exit_code == 1
    assert key.kid in early.output


def test_a_compromised_key_is_replaced_at_once(path: Path) -> None:
    old = json.loads(done("list", path, "--json"))[0]["kid"]
    done("generate", path)
    assert old not in done("rotate", path, "--compromised")


def test_nothing_private_is_ever_printed(path: Path) -> None:
    done("generate", path)
    private = json.loads(path.read_text())["keys"][1]["pem"].splitlines()[3]
    printed = done("list", path) + done("list", path, "--json") + done("jwks", path)
    assert private not in printed
    assert "PRIVATE" not in printed
    published = json.loads(done("jwks", path))["keys"]
    assert [jwk["kty"] for jwk in published] == ["EC", "RSA"]
    assert not any({"d", "p", "q"} & jwk.keys() for jwk in published)


def test_a_directory_holds_keys_json(tmp_path: Path) -> None:
    done("generate", tmp_path, "--algorithm", "ES256")
    assert file_at(tmp_path) == tmp_path / "keys.json"
    assert done("list", tmp_path) == done("list", tmp_path / "keys.json")


def test_the_longest_life_of_a_token_can_be_raised_and_not_lowered(path: Path) -> None:
    done("generate", path, "--algorithm", "ES256", "--token-ttl", "604800")
    assert read_file(path).token_seconds == 604_800
    aged(path, 1000)
    done("rotate", path)
    done("generate", path, "--algorithm", "ES256", "--token-ttl", "60")
    assert read_file(path).token_seconds == 604_800


@pytest.mark.parametrize("command", [["list"], ["rotate"], ["jwks"], ["retire", "kid"]])
def test_a_command_on_a_missing_or_broken_file_says_so(command: list[str], tmp_path: Path) -> None:
    name, *rest = command
    missing = keys(name, tmp_path / "none.json", *rest)
    assert missing.exit_code == 2
    assert "No such file" in missing.output
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert "no key file" in keys(name, broken, *rest).output
    assert keys(name, broken, *rest).exit_code == 2


def test_generating_into_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("something else")
    assert keys("generate", broken, "--algorithm", "ES256").exit_code == 2
    assert broken.read_text() == "something else"


def test_generating_into_a_missing_directory_says_so(tmp_path: Path) -> None:
    result = keys("generate", tmp_path / "none" / "keys.json", "--algorithm", "ES256")
    assert result.exit_code == 2
    assert "directory" in result.output


def test_the_commands_are_listed_and_imported_late() -> None:
    assert "keys" in CliRunner().invoke(main, ["--help"]).output
    helped = done("--help")
    assert [name for name in ("generate", "jwks", "list", "retire", "rotate") if name not in helped] == []


# -------------------------------------------------------------------- the file
def test_only_the_owner_may_read_a_key_file(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    done("generate", path, "--algorithm", "ES256")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_owner_of_a_key_file_stays_when_root_changes_it(path: Path) -> None:
    owner = (12345, 12345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    done("generate", path, "--algorithm", "ES256")
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_a_refused_step_leaves_the_file_as_it_was_and_nothing_beside_it(path: Path) -> None:
    before, inode = path.read_bytes(), path.stat().st_ino
    keys("rotate", path)
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert os.listdir(path.parent) == ["keys.json"]


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.parent / "link.json"
    link.symlink_to(path)
    done("generate", link, "--algorithm", "ES256")
    assert link.is_symlink()
    assert len(read_file(path).entries) == 2


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        replace_file(tmp_path / "none" / "keys.json", KeyFile())


def _add(path: str, number: int, together: Any) -> None:
    together.wait(60)
    for n in range(12):
        with keyfile.locked(Path(path)):
            file = read_file(Path(path))
            entry = rotation.Entry(f"k{number}.{n}", "RS256", "retiring", number, "PEM")
            replace_file(Path(path), KeyFile((*file.entries, entry)))


def test_changes_from_several_processes_are_all_kept(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    processes = [context.Process(target=_add, args=(str(path), n, together)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(read_file(path).entries) == 1 + 2 * 12


# ----------------------------------------------------------------- opening rings
def test_a_ring_comes_from_whatever_is_configured(path: Path, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(forge.pem())
    kid = key_of_pem(forge.pem(), JOSE).kid
    assert open_ring(JWTConfig(rsa_private_key_pem=forge.pem())).current.kid == kid
    assert open_ring(JWTConfig(rsa_private_key_pem=forge.pem().encode())).current.kid == kid
    assert open_ring(JWTConfig(rsa_private_key_pem=forge.pem)).current.kid == kid
    assert open_ring(JWTConfig(rsa_private_key_path=pem)).current.kid == kid
    assert open_ring(JWTConfig(rsa_private_key_path=str(path))).current.kid == read_file(path).entries[0].kid
    assert open_ring(JWTConfig(rsa_private_key_path=path.parent)).current.algorithm == "ES256"
    assert open_ring(JWTConfig(jwt_secret=forge.SECRET)).current.algorithm == "HS256"
    assert len(open_ring(JWTConfig(jwt_secret=(lambda: "a" * 32, b"b" * 32))).keys) == 2


def test_without_a_key_every_ring_is_a_new_one() -> None:
    one, two = open_ring(JWTConfig()), open_ring(JWTConfig(algorithm="ES256"))
    assert (one.current.algorithm, two.current.algorithm) == ("RS256", "ES256")
    assert open_ring(JWTConfig(algorithm="ES256")).current.kid != two.current.kid


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 1_048_577, b"", b"{"], ids=["no text", "too long", "empty", "half"])
def test_a_file_without_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    target = tmp_path / "key"
    target.write_bytes(content)
    with pytest.raises(ConfigurationError):
        open_ring(JWTConfig(rsa_private_key_path=target))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        open_ring(JWTConfig(rsa_private_key_path=tmp_path / "none.pem"))


def test_a_secret_that_turns_out_too_short_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        open_ring(JWTConfig(jwt_secret=lambda: "short"))


# ---------------------------------------------------------------------- watching
def test_a_changed_file_is_followed(path: Path) -> None:
    watched = WatchedRing(JWTConfig(rsa_private_key_path=path))
    first = watched.ring
    assert not watched.refresh()
    done("generate", path, "--algorithm", "ES256")
    assert watched.refresh()
    assert (len(watched.ring.keys), watched.ring.current.kid) == (2, first.current.kid)
    assert not watched.refresh()


def test_a_broken_or_missing_file_changes_nothing_and_is_said(path: Path) -> None:
    watched = WatchedRing(JWTConfig(rsa_private_key_path=path))
    ring, good = watched.ring, path.read_text()
    path.write_text("{")
    assert not watched.refresh()
    assert "no key file" in str(watched.problem)
    path.unlink()
    assert not watched.refresh()
    assert "cannot be read" in str(watched.problem)
    assert watched.ring is ring
    path.write_text(good)
    assert not watched.refresh()
    assert watched.problem is None


@pytest.mark.parametrize("options", [{}, {"jwt_secret": forge.SECRET}])
def test_what_is_no_file_never_changes(options: dict[str, Any]) -> None:
    watched = WatchedRing(JWTConfig(**options))
    assert not watched.refresh()
