"""The state file: locked, versioned, all or nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiofs.cache import objects, records
from oaiofs.cache.database import SCHEMA_VERSION
from oaiofs.cache.state import State
from oaiofs.cache.store import Store
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


def test_a_damaged_file_is_set_aside_and_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(tmp_path)
    state.set_meta("account", "alice here")
    state.set_meta("k", "v")
    state.close(clean=True)
    noise = b"this is no database at all" * 100
    (tmp_path / "state.db").write_bytes(noise)
    state = State(tmp_path)
    assert (state.rebuild, state.clean, state.meta("account"), state.meta("k")) == (True, False, "alice here", None)
    [kept] = (tmp_path / "damaged").glob("*/state.db")
    assert kept.read_bytes() == noise
    assert state.meta("damaged") in caplog.messages
    assert str(kept.parent) in caplog.text
    caplog.clear()
    state.close(clean=True)


def _without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE base_file")
    db.close()


def _noise_in_the_middle(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xa5" * (size - 4096))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        _noise_in_the_middle,
        _without_a_table,
    ],
    ids=["deleted", "emptied", "cut in half", "zeros", "noise", "without a table"],
)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_every_damage_is_noticed(tmp_path: Path, damage: Callable[[Path], None], clean: bool) -> None:
    store = Store(tmp_path)
    store.state.set_meta("account", "alice here")
    for number in range(200):
        with store.state.transaction():
            store.state.set_meta(f"filler {number}", "x" * 500)
    store.close(clean=clean)
    damage(tmp_path / "state.db")
    store = Store(tmp_path)
    assert store.state.rebuild
    assert store.state.examine() == []
    store.close(clean=False)
    store = Store(tmp_path)
    assert store.state.rebuild, "filling it was not finished"
    store.close(clean=True)


def test_being_killed_before_the_new_file_says_that_it_is_to_be_filled(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.set_meta("account", "alice here")
    state.close(clean=True)
    (tmp_path / "state.db").unlink()
    (tmp_path / "elsewhere").mkdir()
    State(tmp_path / "elsewhere").close(clean=True)
    (tmp_path / "elsewhere" / "state.db").rename(tmp_path / "state.db")  # tables, and nothing in them
    state = State(tmp_path)
    assert (state.rebuild, state.meta("account")) == (True, "alice here")
    state.close(clean=True)


def test_rows_that_make_no_sense_are_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.state.set_meta("account", "alice here")
    objects.create(store, "Notes", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    store.db.execute("UPDATE object SET local_values = '{'")
    store.close(clean=True)
    store = Store(tmp_path)
    assert store.state.rebuild
    assert store.heads == {}
    store.close(clean=True)


def test_an_empty_client_root_is_new_and_not_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    state = State(tmp_path)
    assert (state.rebuild, state.clean) == (False, True)
    state.close(clean=True)


def test_a_lost_log_does_not_look_like_an_ordered_end(tmp_path: Path) -> None:
    State(tmp_path).close(clean=True)
    state = State(tmp_path)
    image = tmp_path / "image"
    image.mkdir()
    (image / "state.db").write_bytes((tmp_path / "state.db").read_bytes())
    again = State(image)
    assert not again.clean
    again.close(clean=True)
    state.close(clean=True)


def test_corruption_met_by_a_running_process_is_looked_for_at_the_next_start(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.set_meta("account", "alice here")
    for number in range(2000):
        state.set_meta(f"filler {number}", "x" * 2000)
    state.checkpoint()
    _noise_in_the_middle(tmp_path / "state.db")
    state.db.execute("PRAGMA shrink_memory")
    with pytest.raises(StateError):
        state.db.execute("SELECT sum(length(value)) FROM meta").fetchone()
    state.close(clean=True)
    state = State(tmp_path)
    assert state.rebuild
    state.close(clean=True)


def test_a_file_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    """``first_format.sql`` is what the first format's schema made, with one object in it."""
    dump = Path(__file__).parent / "first_format.sql"
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.executescript(dump.read_text())
    db.close()
    store = Store(tmp_path)
    assert store.state.db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    [record] = records.objects(store.db)
    assert (record.name, record.rebuilt, record.orphan) == ("Notes", False, False)
    assert store.state.meta("account") == "alice https://oaio.example"
    assert "alice" in (tmp_path / "root.json").read_text(), "it has its label from now on"
    store.close(clean=True)


def test_an_old_and_a_new_file_have_the_same_tables(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with sqlite3.connect(tmp_path / "old" / "state.db") as db:
        db.executescript((Path(__file__).parent / "first_format.sql").read_text())
    db.close()
    columns = []
    for name in ("old", "new"):
        state = State(tmp_path / name)
        tables = [row[0] for row in state.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
        columns.append({table: state.db.execute(f"PRAGMA table_info({table})").fetchall() for table in tables})
        state.close(clean=True)
    assert columns[0] == columns[1]


def test_checkpoint_and_sync_keep_what_was_committed(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.set_meta("a", "x" * 10_000)
    assert state.wal_bytes() > 10_000
    state.sync_to_disk()
    state.checkpoint()
    assert state.meta("a") == "x" * 10_000
    state.close(clean=True)
    assert state.wal_bytes() == 0


def fail_within(state: State) -> None:
    with state.transaction():
        state.set_meta("outer", "2")
        state.set_meta("inner", "1")
        with state.transaction():
            state.set_meta("innermost", "1")
        raise ValueError("inner")


def test_who_catches_the_error_of_an_inner_transaction_keeps_what_was_before_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    with state.transaction():
        state.set_meta("outer", "1")
        with pytest.raises(ValueError, match="inner"):
            fail_within(state)
        state.set_meta("after", "1")
    assert [state.meta(key) for key in ("outer", "inner", "innermost", "after")] == ["1", None, None, "1"]
    assert state.rolled_back, "files may have been changed for the inner one"
    state.close(clean=True)
