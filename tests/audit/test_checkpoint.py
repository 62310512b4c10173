"""Checkpoints: their text, their signature, the file they are added to."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit.checkpoint import Checkpoint, Head, Register, checkpoint_of
from lockwatch.audit.merkle import Tree
from lockwatch.audit.note import Note, notes_in, verifier_of
from lockwatch.audit.seals import CheckpointFile, generate_key, load_signer, load_verifier, read_checkpoints
from lockwatch.errors import ConfigurationError, EvidenceError
from tests.audit.rows import NOW
from tests.audit.tampering import command

ONE, TWO = Head("aa", 3, b"1" * 32), Head("bb", 7, b"2" * 32)
heads = st.builds(
    Head, st.text("0123456789abcdef", min_size=1, max_size=16), st.integers(1, 2**62), st.binary(min_size=32, max_size=32)
)


@given(
    st.builds(
        Checkpoint,
        st.just("shop.example/audit"),
        st.integers(0, 10**17),
        st.binary(min_size=32, max_size=32),
        st.integers(0, 4 * 10**15),
        st.lists(heads, max_size=4).map(tuple),
    )
)
def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Checkpoint) -> None:
    assert checkpoint_of(checkpoint.text) == checkpoint


def test_the_text_is_that_of_c2sp(tmp_path: Path) -> None:
    """Read as tlog-checkpoint and signed-note say, with nothing of ours."""
    signer = generate_key(tmp_path / "key.pem", "shop.example/audit")
    note = CheckpointFile(tmp_path / "sealed.txt", signer).seal([TWO, ONE], NOW)
    assert note is not None
    text, _, signatures = note.partition("\n\n")
    origin, size, root, *others = text.split("\n")
    assert (origin, size) == ("shop.example/audit", "2")
    entries = [f"head {h.process} {h.seq} {base64.b64encode(h.chain).decode()}\n".encode() for h in (ONE, TWO)]
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    assert base64.b64decode(root) == hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    assert others[0] == "time 2026-11-24T09:30:00.000000Z"
    dash, name, encoded = signatures.rstrip("\n").split(" ")
    name_, key_id, public = (tmp_path / "key.pem.pub").read_text().strip().split("+", 2)
    raw = base64.b64decode(public)
    assert (dash, name, raw[0]) == ("\u2014", name_, 1)
    signature = base64.b64decode(encoded)
    assert signature[:4].hex() == key_id == hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], f"{text}\n".encode())


def test_only_new_heads_are_sealed() -> None:
    register = Register()
    first = register.next("o", [ONE, TWO], NOW)
    assert first is not None
    register.follow(first)
    assert register.next("o", [ONE, TWO], NOW) is None
    later = ONE._replace(seq=4)
    second = register.next("o", [later, TWO], NOW)
    assert second is not None
    assert (second.heads, second.size) == ((later,), 3)
    assert second.root == Tree(h.line.encode() for h in (ONE, TWO, later)).root


@pytest.mark.parametrize("head", [ONE._replace(seq=2), ONE._replace(chain=b"3" * 32)])
def test_a_head_that_contradicts_a_sealed_one_is_refused(head: Head) -> None:
    register = Register()
    first = register.next("o", [ONE], NOW)
    assert first is not None
    register.follow(first)
    with pytest.raises(EvidenceError, match="process aa"):
        register.next("o", [head], NOW)


@given(data=st.data())
def test_no_change_of_a_note_goes_unnoticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.getbasetemp()
    key = directory / "change.pem"
    signer = load_signer(key) if key.exists() else generate_key(key)
    note = signer.sign(Checkpoint("lockwatch/audit", 1, Tree([ONE.line.encode()]).root, NOW, (ONE,)).text)
    i = data.draw(st.integers(0, note.index("\n\n")))
    c = data.draw(st.characters(codec="utf-8").filter(lambda c: c != note[i]))
    changed = note[:i] + c + note[i + 1 :] + "\n"
    try:
        assert not [n for n in notes_in(changed) if signer.verifier.signed(n)]
    except EvidenceError:
        pass


def test_a_key_signs_under_its_name_alone(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "key.pem", "one")
    note = Note("text\n", signer.sign("text\n").partition("\n\n")[2])
    assert signer.verifier.signed(note)
    assert not load_signer(tmp_path / "key.pem", "two").verifier.signed(note)
    assert not signer.verifier.signed(note._replace(text="text \n"))
    assert signer.verifier.signed(note._replace(signatures=f"\u2014 other AAAA\nrubbish\n{note.signatures}"))


def test_public_keys_come_as_a_line_a_file_or_a_pem(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "key.pem")
    pem = signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    note = Note("text\n", signer.sign("text\n").partition("\n\n")[2])
    for option in (str(signer.verifier), f"{tmp_path}/key.pem.pub", f"{tmp_path}/public.pem"):
        assert load_verifier(option).signed(note)


@pytest.mark.parametrize(
    "text", ["", "a+b+c", "name+00000000+AQ==", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="public key of checkpoints"):
        verifier_of(text)


def test_what_is_no_private_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (other, b"hunter2"):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(ConfigurationError, match="Ed25519") as caught:
            load_signer(tmp_path / "key.pem")
        assert "hunter2" not in str(caught.value)


def test_a_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    result = command("checkpoint", "--generate-key", "--key", str(path), "--origin", "shop.example/audit")
    assert (result.exit_code, result.stdout) == (0, (tmp_path / "key.pem.pub").read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    again = command("checkpoint", "--generate-key", "--key", str(path))
    assert (again.exit_code, "nothing is overwritten" in again.output) == (2, True)
    assert command("checkpoint", "--generate-key", "--key", str(tmp_path / "x"), "--origin", "a b").exit_code == 2


def _seal_some(path: str, key: str, process: str) -> None:
    file = CheckpointFile(path, load_signer(key))
    for seq in range(1, 21):
        file.seal([Head(process, seq, bytes(32))], NOW + seq)


def test_several_processes_add_to_one_file(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "key.pem")
    spawn = get_context("spawn")
    workers = [spawn.Process(target=_seal_some, args=(f"{tmp_path}/s.txt", f"{tmp_path}/key.pem", name)) for name in ("aa", "bb")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    sealed = list(read_checkpoints(tmp_path / "s.txt", signer.verifier))
    assert [(len(sealed), worker.exitcode) for worker in workers] == [(40, 0)] * 2
    assert sealed[-1].size == 40


def test_a_file_that_got_shorter_is_not_added_to(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "s.txt", generate_key(tmp_path / "key.pem"))
    file.seal([ONE], NOW)
    (tmp_path / "s.txt").write_text("")
    with pytest.raises(EvidenceError, match="shorter"):
        file.seal([TWO], NOW)


def test_a_file_of_another_key_is_not_added_to(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "s.txt", generate_key(tmp_path / "one.pem")).seal([ONE], NOW)
    with pytest.raises(EvidenceError, match="not signed"):
        CheckpointFile(tmp_path / "s.txt", generate_key(tmp_path / "two.pem")).seal([TWO], NOW)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "s.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        CheckpointFile(tmp_path / "s.txt", generate_key(tmp_path / "key.pem")).seal([ONE], NOW)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    signer = generate_key(tmp_path / "key.pem")
    CheckpointFile(tmp_path / "s.txt", signer).seal([ONE], NOW)
    size = os.path.getsize(tmp_path / "s.txt")
    script = (
        "import resource, signal, sys\n"
        "from lockwatch.audit.checkpoint import Head\nfrom lockwatch.audit.seals import CheckpointFile, load_signer\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 100}, {size + 100}))\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"file = CheckpointFile({str(tmp_path / 's.txt')!r}, load_signer({str(tmp_path / 'key.pem')!r}))\n"
        f"file.seal([Head('bb', 1, bytes(32))], {NOW})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigurationError: checkpoints cannot be kept" in done.stderr
    assert os.path.getsize(tmp_path / "s.txt") == size
    assert CheckpointFile(tmp_path / "s.txt", signer).seal([TWO], NOW) is not None
