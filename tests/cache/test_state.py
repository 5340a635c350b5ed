"""The state file: locked, versioned, all or nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from oaiofs.cache.state import SCHEMA_VERSION, State
from oaiofs.errors import Busy, StateError


def test_a_client_root_is_its_owners_alone(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    State(root).close(clean=True)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "state.db").stat().st_mode) == 0o600


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = State(tmp_path)
    with pytest.raises(Busy, match=rf"process {os.getpid()}.*--client-root"):
        State(tmp_path)
    first.set_meta("still", "works")
    first.close(clean=True)
    second = State(tmp_path)
    assert second.meta("still") == "works"
    second.close(clean=True)


@pytest.mark.parametrize("clean", [True, False])
def test_it_knows_whether_the_last_end_was_ordered(tmp_path: Path, clean: bool) -> None:
    state = State(tmp_path)
    assert state.clean, "nothing to compare in a new one"
    state.close(clean=clean)
    state = State(tmp_path)
    assert state.clean is clean
    state.close(clean=True)


def test_a_kill_is_no_ordered_end(tmp_path: Path) -> None:
    state = State(tmp_path)
    image = tmp_path / "image"
    image.mkdir()
    for name in ("state.db", "state.db-wal"):
        (image / name).write_bytes((tmp_path / name).read_bytes())
    again = State(image)
    assert not again.clean
    again.close(clean=True)
    state.close(clean=True)


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    state = State(tmp_path)
    rolled_back: list[str] = []
    state.on_rollback = lambda: rolled_back.append("once")

    def half_done() -> None:
        with state.transaction():
            state.set_meta("a", "1")
            with state.transaction():
                state.set_meta("b", "2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert (state.meta("a"), state.meta("b"), rolled_back) == (None, None, ["once"])
    with state.transaction():
        state.set_meta("a", "1")
        with state.transaction():
            state.set_meta("b", "2")
    assert (state.meta("a"), state.meta("b")) == ("1", "2")
    state.close(clean=True)


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    State(tmp_path).close(clean=True)
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StateError, match="newer oaiofs"):
        State(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before
    with pytest.raises(StateError, match="newer oaiofs"):  # the lock was let go
        State(tmp_path)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    State(tmp_path).close(clean=True)
    (tmp_path / "state.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StateError, match=r"state\.db is damaged.*move it away"):
        State(tmp_path)
    (tmp_path / "state.db").unlink()
    State(tmp_path).close(clean=True)


def test_checkpoint_and_sync_keep_what_was_committed(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.set_meta("a", "x" * 10_000)
    assert state.wal_bytes() > 10_000
    state.sync_to_disk()
    state.checkpoint()
    assert state.meta("a") == "x" * 10_000
    state.close(clean=True)
    assert state.wal_bytes() == 0
