"""The working directory: whole records, torn journals, claims."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.errors import LedgerError
from gemini_tuning.ledger import SCHEMA, Journal, Ledger, digest, write_atomic

rows = st.lists(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none(), min_size=1), max_size=5)


@given(rows, st.data())
def test_a_journal_cut_at_any_byte_gives_its_whole_rows_and_takes_new_ones(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, object]], data: st.DataObject
) -> None:
    """Kill the writer at any byte: what was written whole is read, and the next row is not lost."""
    path = tmp_path_factory.mktemp("journal") / "a.jsonl"
    journal = Journal(path)
    for row in written:
        journal.append(row)
    content = path.read_bytes() if path.exists() else b""
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    # A last row that lost only its line end is whole too.
    read = list(journal.rows())
    assert read[:whole] == written[:whole]
    assert len(read) <= whole + 1
    journal.append({"next": 1})
    assert list(journal.rows())[-1] == {"next": 1}
    assert list(journal.rows())[:whole] == written[:whole]


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_digests_differ_when_the_parts_do(first: list[str], second: list[str]) -> None:
    """("ab", "c") and ("a", "bc") have different keys."""
    assert (digest(*first) == digest(*second)) == (first == second)


def test_a_record_is_whole_or_absent_after_a_kill(tmp_path: Path) -> None:
    """A process killed while it writes leaves the old record or the new one."""
    code = f"""
import sys; from pathlib import Path; from gemini_tuning.ledger import Ledger
ledger = Ledger(Path({str(tmp_path)!r}), "p")
at = 0
while True:
    at += 1
    ledger.write("thing", "k", {{"at": at, "fill": "x" * 100_000}})
    print(at, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(5):
        child.stdout.readline()
    child.kill()
    child.wait()
    child.stdout.close()
    record = Ledger(tmp_path, "p").read("thing", "k")
    assert record["at"] >= 5
    assert len(record["fill"]) == 100_000


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while writing takes the temporary file away and keeps the old record."""
    target = tmp_path / "a.json"
    write_atomic(target, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="No space"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_directory_belongs_to_one_project(tmp_path: Path) -> None:
    """Another name is refused before anything is written."""
    Ledger(tmp_path, "one").write("a", "k", 1)
    with pytest.raises(LedgerError, match="belongs to the project 'one'"):
        Ledger(tmp_path, "two").write("a", "k", 2)
    assert Ledger(tmp_path, "one").read("a", "k") == 1


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A directory of a later version is not touched."""
    (tmp_path / "project.json").write_text(json.dumps({"schema": SCHEMA + 1, "name": "p"}))
    with pytest.raises(LedgerError, match="upgrade"):
        Ledger(tmp_path, "p").read("a", "k")


def test_a_blob_is_what_its_name_says_or_nothing(tmp_path: Path) -> None:
    """A changed blob is not given out."""
    ledger = Ledger(tmp_path, "p")
    name = ledger.put_blob(b"rows")
    assert ledger.blob(name) == b"rows"
    (tmp_path / "blobs" / name).write_bytes(b"other")
    assert ledger.blob(name) is None
    assert ledger.blob("../project.json") is None


def test_of_many_threads_one_holds_the_claim(tmp_path: Path) -> None:
    """At any time at most one holder; everyone gets it in turn."""
    ledger = Ledger(tmp_path, "p")
    holders, most, lock = [0], [0], threading.Lock()

    def work() -> None:
        claim = ledger.claim("job", "k", wait=30)
        assert claim is not None
        with claim:
            with lock:
                holders[0] += 1
                most[0] = max(most[0], holders[0])
            time.sleep(0.01)
            with lock:
                holders[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert not list((tmp_path / "claims" / "job").iterdir())


def test_a_live_claim_is_waited_for_and_named(tmp_path: Path) -> None:
    """A claim with a heartbeat is not taken, however long it lasts."""
    ledger = Ledger(tmp_path, "p", claim_timeout=0.5)
    claim = ledger.claim("job", "k", wait=1)
    assert claim is not None
    with claim, pytest.raises(LedgerError, match="worked on elsewhere"):
        ledger.claim("job", "k", wait=1.5)


def test_an_abandoned_claim_is_taken_over(tmp_path: Path) -> None:
    """A claim whose holder was killed is free after the timeout."""
    code = f"""
from pathlib import Path; from gemini_tuning.ledger import Ledger; import time
Ledger(Path({str(tmp_path)!r}), "p", claim_timeout=0.5).claim("job", "k", wait=1); print("held", flush=True); time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    child.kill()
    child.wait()
    child.stdout.close()
    claim = Ledger(tmp_path, "p", claim_timeout=0.5).claim("job", "k", wait=10)
    assert claim is not None
    claim.release()


def test_waiting_ends_when_the_work_was_done_elsewhere(tmp_path: Path) -> None:
    """Who waits for a claim learns that there is nothing left to do."""
    ledger = Ledger(tmp_path, "p")
    held = ledger.claim("job", "k", wait=1)
    assert held is not None
    with held:
        assert ledger.claim("job", "k", wait=5, done=lambda: True) is None


@pytest.mark.parametrize("key", ["../x", "a/b", "", "A", "x" * 200, "a\x00"])
def test_keys_are_never_paths(tmp_path: Path, key: str) -> None:
    """Nothing but the library's own words and hex digits names a file."""
    with pytest.raises(LedgerError):
        Ledger(tmp_path, "p").write("kind", key, 1)
