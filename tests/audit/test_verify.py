"""What `lockwatch audit verify` finds after somebody changed the log by SQL, on Postgres, on SQLite and in an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit.chain import link
from lockwatch.audit.checkpoint import Anchor, Checkpoint, Head
from lockwatch.audit.findings import Finding
from lockwatch.audit.row import Row
from lockwatch.audit.seals import generate_key
from lockwatch.audit.verify import AHEAD, Verification
from tests.audit.rows import NOW
from tests.audit.tampering import A, B, by_time, chained, command, export, findings, gap, sql, store, summary

LOG = "lockwatch_audit_log"


def swapped(one: int, other: int) -> tuple[str, ...]:
    steps = ((one, 0), (other, one), (0, other))
    return tuple(f"UPDATE {LOG} SET seq = {after} WHERE process = '{A}' AND seq = {before}" for before, after in steps)


TAMPERED = {
    "edit": ((f"UPDATE {LOG} SET user_id = 'v' WHERE process = '{A}' AND seq = 4",), [("edited", A, 4, 4)]),
    "edit of a flag": (
        (f"UPDATE {LOG} SET rate_limit_hit = NOT rate_limit_hit WHERE process = '{A}' AND seq = 1",),
        [("edited", A, 1, 1)],
    ),
    "null for a text": ((f"UPDATE {LOG} SET ip = NULL WHERE process = '{B}' AND seq = 6",), [("edited", B, 6, 6)]),
    "same json, other spelling": ((f"UPDATE {LOG} SET details = '{{}}' WHERE process = '{A}' AND seq = 2",), [("edited", A, 2, 2)]),
    "drop": ((f"DELETE FROM {LOG} WHERE process = '{A}' AND seq IN (3, 4)",), [("missing", A, 3, 4)]),
    "drop of the first": ((f"DELETE FROM {LOG} WHERE process = '{A}' AND seq < 3",), [("missing", A, 1, 2)]),
    "swap of neighbours": (swapped(3, 4), [("edited", A, 3, 3), ("moved", A, 4, 4)]),
    "swap": (swapped(3, 5), [("edited", A, 3, 3), ("edited", A, 4, 4), ("moved", A, 5, 5)]),
    "other process": (
        (f"UPDATE {LOG} SET process = '{B}' WHERE process = '{A}' AND seq = 6",),
        [("edited", B, 6, 6), ("inserted", B, 6, 6)],
    ),
}


@pytest.fixture
def log() -> list[Row]:
    return by_time(chained(A, 6), chained(B, 6, NOW + 500_000))


def check(*rows: Row, **options: object) -> list[tuple[str, str, int, int]]:
    """What is found in rows, without a database."""
    verification = Verification(**options)  # type: ignore[arg-type]
    found: list[Finding] = []
    for row in rows:
        found += verification.feed(row)
    found += verification.finish()
    return [(f.kind, f.process, f.seq, f.until) for f in found]


def test_a_log_as_it_was_written_passes(audit_url: str, log: list[Row]) -> None:
    store(audit_url, log)
    result = command("verify", audit_url, "--json")
    assert findings(result) == []
    assert summary(result)["rows"] == 12
    assert command("verify", audit_url).stdout.endswith("as it was written\n")


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_by_sql_is_found(audit_url: str, log: list[Row], name: str) -> None:
    statements, expected = TAMPERED[name]
    store(audit_url, log)
    sql(audit_url, *statements)
    assert findings(command("verify", audit_url, "--json")) == expected


def test_a_finding_names_the_row(sqlite_url: str, log: list[Row]) -> None:
    store(sqlite_url, log)
    sql(sqlite_url, TAMPERED["edit"][0][0])
    row = next(row for row in log if (row.process, row.seq) == (A, 4))
    result = command("verify", sqlite_url)
    assert result.exit_code == 1
    line = result.stdout.splitlines()[0]
    assert all(part in line for part in ("edited", "2026-11-24T09:30:04.000000Z", f"process {A}", "row 4", row.id, "was changed"))
    assert "NOT AS IT WAS WRITTEN, findings: 1 edited" in result.stdout


def test_an_export_is_checked_without_the_database(tmp_path: Path, log: list[Row]) -> None:
    assert findings(command("verify", export(tmp_path / "whole.jsonl", log), "--json")) == []
    edited = [row._replace(outcome="success!") if row == log[3] else row for row in log]
    assert findings(command("verify", export(tmp_path / "edited.jsonl", edited), "--json")) == [("edited", B, 2, 2)]
    assert findings(command("verify", export(tmp_path / "part.jsonl", log[4:8]), "--json", "--excerpt")) == []
    assert findings(command("verify", export(tmp_path / "part.jsonl", log[4:8]), "--json")) == [
        ("missing", A, 1, 2),
        ("missing", B, 1, 2),
    ]


def test_an_export_that_is_none_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n')
    result = command("verify", str(tmp_path / "bad.jsonl"))
    assert (result.exit_code, "line 1" in result.output) == (2, True)
    assert command("verify", str(tmp_path / "none.jsonl")).exit_code == 2
    assert command("verify", f"sqlite+aiosqlite:///{tmp_path}/none.db").exit_code == 2


class TestSealed:
    """With checkpoints that are kept elsewhere."""

    @pytest.fixture
    def seal(self, tmp_path: Path) -> Callable[[str], None]:
        generate_key(tmp_path / "key.pem")

        def seal(url: str) -> None:
            words = ("--database", url, "--key", f"{tmp_path}/key.pem", "--file", f"{tmp_path}/sealed.txt")
            result = command("checkpoint", *words)
            assert result.exit_code == 0, result.output

        return seal

    @pytest.fixture
    def verify(self, tmp_path: Path) -> Callable[[str], list[tuple[str, str, int, int]]]:
        return lambda url: findings(
            command("verify", url, "--json", "--checkpoints", f"{tmp_path}/sealed.txt", "--public-key", f"{tmp_path}/key.pem.pub")
        )

    def test_rows_cut_off_at_the_end_are_missed(self, audit_url: str, log: list[Row], seal, verify) -> None:
        store(audit_url, log)
        seal(audit_url)
        assert verify(audit_url) == []
        sql(audit_url, f"DELETE FROM {LOG} WHERE process = '{A}' AND seq > 4", f"DELETE FROM {LOG} WHERE process = '{B}'")
        assert findings(command("verify", audit_url, "--json")) == []
        assert verify(audit_url) == [("truncated", A, 5, 6), ("truncated", B, 1, 6)]

    def test_a_chain_made_anew_is_another_one(self, audit_url: str, log: list[Row], seal, verify) -> None:
        store(audit_url, log)
        seal(audit_url)
        sql(audit_url, f"DELETE FROM {LOG} WHERE process = '{A}'")
        store(audit_url, chained(A, 9, user_agent="forged"))
        assert findings(command("verify", audit_url, "--json")) == []
        assert verify(audit_url) == [("rewritten", A, 6, 6)]

    def test_later_checkpoints_go_on_where_the_last_one_ended(self, sqlite_url: str, seal, verify, tmp_path: Path) -> None:
        rows = chained(A, 9)
        for part in (rows[:3], rows[3:5], [], rows[5:]):
            store(sqlite_url, part)
            seal(sqlite_url)
        assert (tmp_path / "sealed.txt").read_text().count("lockwatch/audit\n") == 3
        assert verify(sqlite_url) == []

    def test_nothing_is_sealed_over_rows_that_are_gone(self, sqlite_url: str, log: list[Row], seal, tmp_path: Path) -> None:
        store(sqlite_url, log)
        seal(sqlite_url)
        before = (tmp_path / "sealed.txt").read_bytes()
        sql(sqlite_url, f"DELETE FROM {LOG} WHERE process = '{A}' AND seq > 4")
        words = ("--database", sqlite_url, "--key", f"{tmp_path}/key.pem", "--file", f"{tmp_path}/sealed.txt")
        result = command("checkpoint", *words)
        assert (result.exit_code, f"process {A} has row 6 sealed, but the log ends with row 4" in result.output) == (1, True)
        assert (tmp_path / "sealed.txt").read_bytes() == before

    def test_checkpoints_that_were_changed_are_a_finding(self, sqlite_url: str, seal, verify, tmp_path: Path) -> None:
        rows = chained(A, 9)
        for part in (rows[:3], rows[3:5], rows[5:]):
            store(sqlite_url, part)
            seal(sqlite_url)
        file = tmp_path / "sealed.txt"
        text = file.read_text()
        first, second, third = [f"lockwatch/audit\n{part}" for part in text.split("lockwatch/audit\n")[1:]]
        for changed in (second + third, first + third, text.replace(" 5 ", " 4 "), second + first + third, text[:-80], text + "x"):
            file.write_text(changed)
            assert verify(sqlite_url) == [("checkpoint", "", 0, 0)]
        file.write_text(first + second)  # what a file alone cannot show: hold the last one elsewhere
        assert verify(sqlite_url) == []

    def test_another_key_is_a_finding(self, sqlite_url: str, log: list[Row], seal, tmp_path: Path) -> None:
        store(sqlite_url, log)
        seal(sqlite_url)
        other = str(generate_key(tmp_path / "other.pem").verifier)
        result = command("verify", sqlite_url, "--json", "--checkpoints", f"{tmp_path}/sealed.txt", "--public-key", other)
        assert findings(result) == [("checkpoint", "", 0, 0)]

    def test_a_gap_declared_after_the_rows_were_sealed_explains_nothing(self, sqlite_url: str, seal, verify) -> None:
        rows = chained(A, 9)
        store(sqlite_url, rows)
        seal(sqlite_url)
        sql(sqlite_url, f"DELETE FROM {LOG} WHERE process = '{A}' AND seq IN (3, 4)")
        forged = gap(B, 1, b"", NOW + 10**6 * 86400 * 3000, process=A, from_seq=3, to_seq=4, count=2, reason="none")
        store(sqlite_url, [forged])
        assert findings(command("verify", sqlite_url, "--json")) == []
        assert verify(sqlite_url) == [("missing", A, 3, 4)]


def test_declared_gaps_are_told_and_are_no_finding(tmp_path: Path) -> None:
    rows = chained(A, 9)
    told = gap(A, 10, rows[-1].chain, NOW + 60_000_000, from_seq=4, to_seq=6, count=3, reason="spool full", kinds={"http": 3})
    path = export(tmp_path / "log.jsonl", [*rows[:3], *rows[6:], told])
    result = command("verify", path, "--json")
    assert findings(result) == []
    assert (summary(result)["lost"], summary(result)["uncheckable"]) == (3, 1)
    assert "rows 4 to 6: 3 lost, spool full" in command("verify", path).stdout


def test_what_a_gap_does_not_cover_is_missing() -> None:
    rows = chained(A, 9)
    told = gap(A, 10, rows[-1].chain, NOW + 60_000_000, from_seq=4, to_seq=5, count=2)
    assert check(*rows[:2], *rows[6:], told) == [("missing", A, 3, 3), ("missing", A, 6, 6)]


def test_the_row_after_a_gap_is_checked_when_the_gap_tells_its_chain() -> None:
    rows = chained(A, 9)
    told = gap(A, 10, rows[-1].chain, NOW + 60_000_000, from_seq=4, to_seq=6, count=3, chain=rows[5].chain.hex())
    assert check(*rows[:3], *rows[6:], told) == []
    edited = rows[6]._replace(user_id="v")
    assert check(*rows[:3], edited, *rows[7:], told) == [("edited", A, 7, 7)]


def test_another_process_may_declare_the_gap() -> None:
    rows = chained(A, 9)
    told = gap(B, 1, b"", NOW + 60_000_000, process=A, from_seq=4, to_seq=6, count=3)
    assert check(*rows[:3], *rows[6:], told) == []


def test_pruned_chains_begin_at_their_anchor() -> None:
    rows = chained(A, 9)
    anchor = Anchor(A, 4, rows[3].chain)
    assert check(*rows[4:], anchors=[anchor]) == []
    assert check(*rows[5:], anchors=[anchor]) == [("missing", A, 5, 5)]
    assert check(*rows[4:], anchors=[anchor._replace(chain=bytes(32))]) == [("edited", A, 5, 5)]
    assert (
        check(anchors=[Anchor(A, 9, rows[8].chain)], checkpoints=[Checkpoint("o", 1, b"", NOW, (Head(A, 9, rows[8].chain),))]) == []
    )


def test_rows_that_were_put_aside_are_in_their_chain() -> None:
    rows = chained(A, 9)
    assert check(*rows[:4], *rows[5:], aside=[rows[4]]) == []
    assert check(*rows[:8], aside=[rows[8]]) == []
    assert check(*rows[:4], *rows[5:], aside=[rows[4]._replace(ip="x")]) == [("edited", A, 5, 5)]


def test_an_anchor_without_signature_is_a_finding_when_there_is_a_key(sqlite_url: str, tmp_path: Path) -> None:
    rows = chained(A, 9)
    store(sqlite_url, rows[4:])
    signer = generate_key(tmp_path / "key.pem")
    insert = "INSERT INTO lockwatch_audit_anchor (process, seq, chain, timestamp, rows, pruned_at, signature) VALUES "
    sql(sqlite_url, f"{insert} ('{A}', 4, x'{rows[3].chain.hex()}', 0, 4, 0, NULL)")
    words = ("verify", sqlite_url, "--json", "--public-key", f"{tmp_path}/key.pem.pub")
    assert findings(command("verify", sqlite_url, "--json")) == []
    assert findings(command(*words)) == [("unsigned", A, 1, 4)]
    note = signer.sign(Anchor(A, 4, rows[3].chain).text)
    sql(sqlite_url, f"UPDATE lockwatch_audit_anchor SET signature = '{note}'")
    assert findings(command(*words)) == []
    sql(sqlite_url, "UPDATE lockwatch_audit_anchor SET seq = 5")
    assert findings(command(*words)) == [("unsigned", A, 1, 5)]


def test_a_chain_value_made_anew_shows_at_the_next_row() -> None:
    rows = chained(A, 6)
    forged = rows[2]._replace(user_id="v")
    forged = forged._replace(chain=link(rows[1].chain, forged))
    assert check(*rows[:2], forged, *rows[3:]) == [("edited", A, 4, 4)]


def test_rows_without_chain_and_of_later_releases_are_told() -> None:
    rows = chained(A, 4)
    assert check(rows[0], rows[1]._replace(chain=b""), rows[2]._replace(schema_v=9), rows[3]) == [
        ("unchained", A, 2, 2),
        ("unknown", A, 3, 3),
    ]


def test_a_process_may_write_out_of_the_order_of_time() -> None:
    """Urgent kinds go first, so numbers and times need not agree."""
    rows = chained(A, 9)
    assert check(*reversed(rows)) == []


def test_memory_is_bounded_when_a_row_never_comes() -> None:
    rows = chained(A, AHEAD + 10)
    verification = Verification()
    found = [f for row in rows[1:] for f in verification.feed(row)]
    assert found == []
    assert verification._waiting == 0
    found = [*verification.feed(rows[0]), *verification.finish()]
    assert [(f.kind, f.seq) for f in found] == [("moved", 1)]


@given(st.data())
def test_whatever_is_done_to_a_row_or_its_place_is_found(data: st.DataObject) -> None:
    rows = by_time(chained(A, 8), chained(B, 8, NOW + 500_000))
    heads = tuple(Head(p, 8, next(r.chain for r in rows if (r.process, r.seq) == (p, 8))) for p in (A, B))
    sealed = [Checkpoint("o", 2, b"", NOW + 10**9, heads)]
    assert check(*rows, checkpoints=sealed) == []
    i = data.draw(st.integers(0, len(rows) - 1))
    what = data.draw(st.sampled_from(["drop", "edit", "swap contents", "copy", "retime"]))
    changed = list(rows)
    if what == "drop":
        del changed[i]
    elif what == "edit":
        name = data.draw(st.sampled_from(["user_id", "outcome", "details", "query", "process", "id", "user_agent"]))
        changed[i] = rows[i]._replace(**{name: f"{getattr(rows[i], name)}!"})
    elif what == "retime":
        changed[i] = rows[i]._replace(timestamp=rows[i].timestamp + data.draw(st.integers(1, 10**8)))
    else:
        j = data.draw(st.integers(0, len(rows) - 1).filter(lambda j: j != i))
        place = {name: getattr(rows[i], name) for name in ("timestamp", "id", "process", "seq")}
        changed[i] = rows[j]._replace(**place)
        if what == "swap contents":
            changed[j] = rows[i]._replace(**{name: getattr(rows[j], name) for name in place})
    assert check(*sorted(changed, key=lambda r: (r.timestamp, r.id)), checkpoints=sealed)


def test_the_text_of_a_row_cannot_command_the_terminal(tmp_path: Path) -> None:
    rows = [row._replace(process="\x1b[2J") for row in chained(A, 2)]
    assert "\x1b" not in command("verify", export(tmp_path / "log.jsonl", rows)).stdout


def test_the_summary_says_what_is_not_proven(tmp_path: Path) -> None:
    path = export(tmp_path / "log.jsonl", chained(A, 2))
    assert "no checkpoints were given" in command("verify", path).stdout
    assert json.loads(command("verify", path, "--json").stdout)["summary"]["checkpoints"] is None
    assert command("verify", path, "--checkpoints", "x").exit_code == 2
