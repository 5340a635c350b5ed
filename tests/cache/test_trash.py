"""The trash of one client root: what gets there and back, and kills between two steps."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from oaiofs.cache import objects, revert, trash, tree
from oaiofs.cache.parked import LONGEST, MOMENT, sweep
from oaiofs.cache.store import Head
from oaiofs.cache.trash import Entry
from oaiofs.core.model import Stamp
from oaiofs.errors import InvalidSidecar, StateError
from tests.cache.conftest import Root, fact, remote_object
from tests.cache.trashing import BOTH, LATER, come_back, contents, dropping, entries, leaving, rm_r

T = TypeVar("T")

# ---------------------------------------------------------------------------------------- what rm takes one by one


def test_what_rm_took_is_in_the_trash_with_its_object(root: Root, head: Head) -> None:
    rm_r(root, head)
    assert (root.path / "trash" / head.folder / "d" / "b.txt").read_bytes() == b"second"
    (entry,) = entries(root)
    assert (entry.note.name, entry.files, entry.bytes) == ("Notes", 2, 11)
    assert os.listdir(root.path / "staging") == []
    restored = come_back(root, entry)
    assert not restored.anew
    assert contents(root, "Notes") == BOTH
    assert os.listdir(root.path / "trash") == []


def test_what_rm_took_is_in_the_trash_also_when_the_removal_succeeds_at_the_second_try(root: Root, head: Head) -> None:
    """At the first one the disk was full."""
    root.write(root.store.attached(head.key)["a.txt"], b"an edit that nobody else has")
    refusal = "BEFORE UPDATE OF removed_at ON object BEGIN SELECT RAISE(ABORT, 'full'); END"
    root.store.db.execute(f"CREATE TEMP TRIGGER refuse {refusal}")
    with pytest.raises(StateError):
        rm_r(root, head)
    root.store.db.execute("DROP TRIGGER refuse")
    trash.remove(root.store, root.store.heads[head.key])
    assert (root.path / "trash" / head.folder / "a.txt").read_bytes() == b"an edit that nobody else has"
    assert os.listdir(root.path / "staging") == []


def test_a_draft_that_rm_took_goes_for_good_where_the_values_have_come_back_since(root: Root, head: Head) -> None:
    objects.put_draft(root.store, head, b"{", InvalidSidecar("no values", 1, 2))
    sidecar = root.store.child(head.ino, head.sidecar)
    assert sidecar is not None
    tree.unlink(root.store, sidecar)
    assert len(os.listdir(root.path / "staging")) == 1
    objects.write_sidecar(root.store, head.key)
    trash.remove(root.store, head, even_full=True)
    assert os.listdir(root.path / "staging") == []


def test_a_removed_file_goes_for_good_after_a_moment(root: Root, head: Head) -> None:
    tree.unlink(root.store, root.store.attached(head.key)["a.txt"])
    sweep(root.store)
    assert len(os.listdir(root.path / "staging")) == 1
    root.steady += MOMENT + 1
    sweep(root.store)
    assert os.listdir(root.path / "staging") == []
    assert root.store.parked == {}


def test_many_removed_files_go_a_few_at_a_time(root: Root, head: Head) -> None:
    """All else waits meanwhile."""
    for number in range(250):
        tree.unlink(root.store, root.file(head.ino, f"{number}.txt", b"x"))
    root.steady += MOMENT + 1
    left = []
    while sweep(root.store):
        left.append(len(os.listdir(root.path / "staging")))
    assert left == [150, 50]
    assert os.listdir(root.path / "staging") == []


def test_files_kept_in_passing_do_not_pile_up_while_a_program_makes_more(root: Root, head: Head) -> None:
    for number in range(100):
        tree.unlink(root.store, root.file(head.ino, f"temporary{number}", b"x" * 10))
        root.steady += 20
        assert len(os.listdir(root.path / "staging")) <= LONGEST / 20 + 1
    for _ in range(10):
        tree.unlink(root.store, root.file(head.ino, "again and again", b"x"))
    assert sum("again" in path for path in root.store.parked[head.key]) == 1
    assert len(os.listdir(root.path / "staging")) <= LONGEST / 20 + 2


def test_an_open_file_that_is_removed_is_removed(root: Root, head: Head) -> None:
    node = root.store.attached(head.key)["a.txt"]
    root.store.writers[node.ino] += 1
    tree.unlink(root.store, node)
    assert os.listdir(root.path / "staging") == []


def test_after_a_kill_what_was_removed_in_passing_is_gone(root: Root, head: Head) -> None:
    tree.unlink(root.store, root.store.attached(head.key)["a.txt"])
    root.reopen()
    assert os.listdir(root.path / "staging") == []
    assert contents(root, "Notes") == {"d/b.txt": b"second"}


# ---------------------------------------------------------------------------------------- kills


class Killed(BaseException):
    """Ends whatever runs, as kill -9 does: nobody catches it but the test."""


def steps_of(doing: Callable[[], object]) -> int:
    """Run *doing*; how many changes of the disk it made."""
    return _counted(doing, None)


def killed_after(doing: Callable[[], object], steps: int) -> None:
    with pytest.raises(Killed):
        _counted(doing, steps)


def _counted(doing: Callable[[], object], limit: int | None) -> int:
    """Have Python's own audit events count, and stop, what changes the disk."""
    _audit.steps, _audit.limit = 0, limit
    try:
        doing()
    finally:
        _audit.limit, steps, _audit.steps = None, _audit.steps, -1
    return steps


class _Audit:
    steps = -1
    limit: int | None = None
    kinds = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir"})

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.steps < 0 or event not in self.kinds:
            return
        if self.limit is not None and self.steps >= self.limit:
            raise Killed
        self.steps += 1


_audit = _Audit()


@pytest.fixture(scope="module", autouse=True)
def _audited() -> None:
    sys.addaudithook(_audit)


def whole(root: Root) -> list[tuple[str, dict[str, bytes | None]]]:
    """All that there is, in the mount and in the trash, with bytes."""
    found = [(f"mount {name}", contents(root, name)) for name in root.store.by_name]
    for entry in entries(root):
        folder = root.path / "trash" / entry.key
        places = [Path(file) for file in trash.files_below(str(folder))]
        files: dict[str, bytes | None] = {p.relative_to(folder).as_posix(): p.read_bytes() for p in places}
        files.pop("values.json", None)
        noted = "without" if entry.note.problems else "with"
        if files:
            found.append((f"trash {entry.note.what.value} {noted} note", files))
    return sorted(found, key=lambda one: one[0])


INTO: dict[str, tuple[Callable[[Root, Head], None], list[tuple[str, Mapping[str, bytes | None]]]]] = {
    "leave": (leaving, [("trash object with note", BOTH)]),
    "drop": (dropping, [("mount Notes", {"d/b.txt": b"second"}), ("trash files with note", {"a.txt": b"first"})]),
}


@pytest.mark.parametrize("what", INTO)
def test_a_kill_at_any_step_into_the_trash(make_root: Callable[[str], Root], what: str) -> None:
    """In the mount or in the trash, with its note."""
    doing, after = INTO[what]
    most, steps, seen = 1, 0, []
    while steps <= most:
        root = make_root(f"{what} {steps}")
        head = _filled(root)
        before = whole(root)
        if steps == 0:
            most = steps_of(lambda: doing(root, head))  # noqa: B023
            assert most >= 2
            assert whole(root) == after
        else:
            killed_after(lambda: doing(root, head), steps - 1)  # noqa: B023
            root.reopen()
            assert whole(root) in (before, after), steps
            seen.append(whole(root))
        steps += 1
    assert before in seen
    assert after in seen


def _filled(root: Root) -> Head:
    made = root.object()
    root.file(made.ino, "a.txt", b"first")
    folder = tree.make_folder(root.store, made.ino, "d", 0o755)
    root.file(folder.ino, "b.txt", b"second")
    root.agree(made)
    return made


OUT = ("take back", "anew", "files", "files of nothing")


def _in_trash(root: Root, what: str) -> Entry:
    """The one entry of a client root that comes back as *what*."""
    head = _filled(root)
    if what == "take back":
        rm_r(root, head)
    elif what == "anew":
        leaving(root, head)
    else:
        dropping(root, head)
        if what == "files of nothing":
            root.store.delete_object(head.key)
            shutil.rmtree(root.path / "objects" / head.folder)
    (entry,) = entries(root)
    return entry


@pytest.mark.parametrize("what", OUT)
def test_a_kill_at_any_step_out_of_the_trash(make_root: Callable[[str], Root], what: str) -> None:
    """In the trash or back, never neither, never both."""
    most, steps, seen = 1, 0, []
    while steps <= most:
        root = make_root(f"{what} {steps}")
        entry = _in_trash(root, what)
        before = whole(root)
        if steps == 0:
            most = steps_of(lambda: come_back(root, entry))  # noqa: B023
            after = whole(root)
            assert most >= 2
            assert entries(root) == []
        else:
            killed_after(lambda: come_back(root, entry), steps - 1)  # noqa: B023
            root.reopen()
            assert whole(root) in (before, after), steps
            seen.append(whole(root))
        steps += 1
    assert after in seen


@pytest.mark.parametrize("what", [*INTO, *OUT])
def test_what_is_not_committed_is_not_done(root: Root, what: str) -> None:
    """As a kill before the commit leaves it: whatever was done on the disk by then would be one side only."""
    head, entry = (_filled(root), None) if what in INTO else (None, _in_trash(root, what))
    before = whole(root)
    root.store.db.set_authorizer(_no_commit)
    with pytest.raises(StateError):
        INTO[what][0](root, head) if head else come_back(root, entry)  # type: ignore[arg-type]
    root.store.db.set_authorizer(None)
    root.reopen()
    assert whole(root) == before


def _no_commit(action: int, operation: str | None, *_: str | None) -> int:
    is_commit = action == sqlite3.SQLITE_TRANSACTION and operation == "COMMIT"
    return sqlite3.SQLITE_DENY if is_commit else sqlite3.SQLITE_OK


def test_a_kill_in_the_middle_of_emptying_leaves_an_entry_that_is_known(root: Root, head: Head) -> None:
    leaving(root, head)
    (entry,) = entries(root)
    killed_after(lambda: trash.delete(root.store.files.root, entry.key), 1)
    root.reopen()
    (left,) = entries(root)
    assert left.note == entry.note
    trash.delete(root.store.files.root, entry.key)
    assert os.listdir(root.path / "trash") == []


def test_a_note_whose_transaction_came_to_nothing_is_cleared_away(root: Root, head: Head) -> None:
    def killed_before_the_commit() -> None:
        with root.store.state.transaction():
            trash.to_trash(root.store, root.store.record(head.key), "test")
            raise Killed

    with pytest.raises(Killed):
        killed_before_the_commit()
    assert os.listdir(root.path / "trash") == []
    (root.path / "trash" / f".new-{head.folder}.json").write_text("{}")  # a kill leaves it where it was written
    assert entries(root) == []
    trash.clear_leftovers(root.store)
    assert os.listdir(root.path / "trash") == []
    assert contents(root, "Notes") == BOTH


def test_a_draft_and_files_that_a_restored_version_takes_away_come_back(root: Root, head: Head) -> None:
    """Two entries of one moment: neither's note is the other's."""
    store = root.store
    files = {**store.base_files(head.key), "far.bin": fact(b"far away")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    sidecar = store.child(head.ino, head.sidecar)
    assert sidecar is not None
    root.write(sidecar, b"{ a draft")
    with pytest.raises(InvalidSidecar):
        objects.judge_sidecar(store, store.node(sidecar.ino))
    version, wanted = Stamp("20250101000000000000"), {"a.txt": fact(b"first")}
    place = f"Digi/oaio Notes/{version}/".__add__
    revert.revert(store, head.key, version, wanted, place, "one", values={"_name": "Notes"})
    assert contents(root, "Notes") == {"a.txt": b"first"}
    for entry in entries(root):
        assert entry.note.problems == ()
        come_back(root, entry)
    assert contents(root, "Notes") == {
        "a.txt": b"first", "d/b.txt": b"second", "far.bin": None, "values (restored).json": b"{ a draft"
    }  # fmt: skip
    assert entries(root) == []


def test_what_vanishes_while_the_trash_is_looked_at_is_not_in_it(root: Root, head: Head) -> None:
    """Somebody empties it, by command or by hand."""
    trash.leave(root.store, root.store.record(head.key), "test")
    folder = root.path / "trash" / head.folder

    def removing_after(call: str, look: Callable[[], T]) -> T:
        def profile(frame: FrameType, event: str, called: Any) -> None:
            if event == "c_return" and called.__name__ == call and folder.exists():
                shutil.rmtree(folder)

        kept = shutil.copytree(folder, root.path / "kept")
        sys.setprofile(profile)
        try:
            return look()
        finally:
            sys.setprofile(None)
            kept.rename(folder)

    for call in ("lstat", "scandir"):
        assert len(removing_after(call, lambda: trash.files_below(str(folder)))) <= 1
        [entry] = removing_after(call, lambda: entries(root))
        assert (entry.key, entry.note.name) == (head.folder, "Notes")
        assert entry.files <= 1


def test_a_name_that_is_no_text_stays_in_the_trash(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "what stays has no note"
    dropping(root, head)
    [entry] = entries(root)
    stray = root.path / "trash" / entry.key / os.fsdecode(b"caf\xe9")
    stray.write_bytes(b"by hand")
    come_back(root, entry)
    assert contents(root, "Notes") == BOTH
    assert stray.read_bytes() == b"by hand"
