"""``oaiofs check``: every broken invariant is found, said, and where that is possible mended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from oaiofs.cache import check, labels, objects, records, trash, tree
from oaiofs.cache.records import ConflictRecord
from oaiofs.cache.store import Head
from oaiofs.core.model import Stamp
from oaiofs.verbs import Place
from oaiofs.verbs.check import examine, run
from tests.cache.conftest import Root, fact, remote_object
from tests.devicekit import problems

LATER = Stamp("20260202000000000000")
Break = Callable[[Root, Head], None]


@pytest.fixture
def head(root: Root) -> Head:
    """A settled object: a.txt and d/deep.txt are here, far.txt is a placeholder."""
    made = root.object()
    root.file(made.ino, "a.txt", b"first")
    folder = tree.make_folder(root.store, made.ino, "d", 0o755)
    root.file(folder.ino, "deep.txt", b"deep")
    root.agree(made)
    files = {**root.store.base_files(made.key), "far.txt": fact(b"far")}
    root.pull(made, remote_object({"_name": "Notes", "k": 1}, files, LATER), files)
    assert problems(root.store) == []
    return root.store.heads[made.key]


def place(root: Root, head: Head, path: str = "") -> Path:
    return root.path / "objects" / head.folder / path


def ino(root: Root, head: Head, name: str = "a.txt") -> int:
    node = root.store.child(head.ino, name)
    assert node is not None
    return node.ino


def write(root: Root, head: Head) -> None:
    place(root, head, "a.txt").write_bytes(b"written behind our back")


def add(root: Root, head: Head) -> None:
    place(root, head, "found").mkdir()
    place(root, head, "found/new.txt").write_bytes(b"x")


def take_away(root: Root, head: Head) -> None:
    place(root, head, "a.txt").unlink()


def make_folder_of_file(root: Root, head: Head) -> None:
    take_away(root, head)
    place(root, head, "a.txt").mkdir()


def put_where_none_is(root: Root, head: Head) -> None:
    place(root, head, "far.txt").write_bytes(b"far")


def change_sidecar(root: Root, head: Head) -> None:
    place(root, head, "values.json").write_bytes(b'{"k": 7}')


def break_sidecar(root: Root, head: Head) -> None:
    place(root, head, "values.json").write_bytes(b'{"k": ')


def lose_folder(root: Root, head: Head) -> None:
    place(root, head).rename(root.path / "elsewhere")


def lose_parent(root: Root, head: Head) -> None:
    root.store.update_node(ino(root, head), parent=77)


def make_cycle(root: Root, head: Head) -> None:
    folder = ino(root, head, "d")
    root.store.update_node(folder, parent=folder)


def give_to_another(root: Root, head: Head) -> None:
    other = root.object("Other")
    root.store.update_node(ino(root, head), object=other.key)
    assert [one.key for one in records.objects(root.store.db)] == [head.key, other.key]


def name_badly(root: Root, head: Head) -> None:
    root.store.update_node(ino(root, head), name="../a.txt")


def forget_stored(root: Root, head: Head) -> None:
    files = {path: one for path, one in root.store.base_files(head.key).items() if path != "far.txt"}
    records.set_base_files(root.store.db, head.key, files)
    root.store.touch(head.key)


def change_base(root: Root, head: Head) -> None:
    records.set_base_files(root.store.db, head.key, {**root.store.base_files(head.key), "a.txt": fact(b"other")})


def settle_a_deletion(root: Root, head: Head) -> None:
    take_away(root, head)
    root.store.delete_node(ino(root, head))


def settle_values(root: Root, head: Head) -> None:
    root.store.update_object(head.key, base_values={"k": 2})


def settle_too_much(root: Root, head: Head) -> None:
    root.store.update_object(head.key, settled_seq=99)


def forget_since_when(root: Root, head: Head) -> None:
    root.store.touch(head.key)
    root.store.update_object(head.key, pending_since=None)


def never_register(root: Root, head: Head) -> None:
    root.store.update_object(head.key, base_stamp=None)


def never_merge(root: Root, head: Head) -> None:
    root.store.update_object(head.key, rebuilt=1)


def draft_of_nothing(root: Root, head: Head) -> None:
    root.store.update_object(head.key, draft={"message": "x", "line": 1, "column": 1})
    root.store.delete_node(ino(root, head, "values.json"))
    place(root, head, "values.json").unlink()


def conflict_without_name(root: Root, head: Head) -> None:
    records.add_conflict(root.store.db, ConflictRecord(head.key, "value", "{k", "", "", "1", "2", LATER, 0.0))


def displaced_without_bytes(root: Root, head: Head) -> None:
    root.store.update_node(ino(root, head, "far.txt"), parent=records.DISPLACED, local=1)
    root.store.touch(head.key)


def detached_without_node(root: Root, _head: Head) -> None:
    (root.path / "detached" / "4711").write_bytes(b"whose?")


def leave_staging(root: Root, _head: Head) -> None:
    (root.path / "staging" / "1-1").write_bytes(b"x")


def leave_an_intent(root: Root, head: Head) -> None:
    (root.path / "trash" / "old").write_bytes(b"x")
    objects.move_later(root.store, "trash/old", "", os.stat(root.path / "trash" / "old").st_ino)
    assert head.key


def unknown_folder(root: Root, head: Head) -> None:
    place(root, head).with_name("Found.9").mkdir()
    (place(root, head).with_name("Found.9") / "f.txt").write_bytes(b"found")


def open_to_others(root: Root, _head: Head) -> None:
    root.path.chmod(0o755)
    (root.path / "state.db").chmod(0o644)


def numbers_again(root: Root, _head: Head) -> None:
    root.store.state.set_meta("next_object", "1")


def inodes_again(root: Root, _head: Head) -> None:
    root.store.state.set_meta("next_ino", "1000")


BROKEN: Mapping[Break, str] = {
    write: "Notes/a.txt: was changed without",
    add: "Notes/found: is in the working copy, but not",
    take_away: "Notes/a.txt: is gone",
    make_folder_of_file: "Notes/a.txt: is of another kind",
    put_where_none_is: "Notes/far.txt: is in the working copy, but said not to be",
    change_sidecar: "Notes/values.json: shows other values",
    break_sidecar: "Notes/values.json: shows other values",
    lose_folder: "Notes: its working copy objects/Notes.1 is gone",
    lose_parent: "Notes/a.txt: is in no folder",
    make_cycle: "Notes/d: is in no folder",
    give_to_another: "Other/a.txt: is in no folder",
    name_badly: "is no name that a file can have",
    forget_stored: "Notes/far.txt: is not downloaded, and no stored version",
    change_base: "Notes/a.txt: differs from the agreed version",
    settle_a_deletion: "Notes/a.txt: is deleted here",
    settle_values: "Notes/values.json: has values that would never be sent",
    settle_too_much: "Notes: more is settled",
    forget_since_when: "Notes: it is not clear since when",
    never_register: "Notes: it was never registered",
    never_merge: "Notes: it is to be merged",
    draft_of_nothing: "Notes/values.json: is gone, and a draft",
    conflict_without_name: "Notes/{k: is said to be in conflict",
    displaced_without_bytes: "is gone: the bytes of far.txt",
    detached_without_node: "detached/4711: belongs to no file",
    leave_staging: "staging/1-1: was left",
    leave_an_intent: "trash/old: was to be removed",
    unknown_folder: "objects/Found.9: is a working copy that",
    open_to_others: "state.db: is open to other users (mode 0644)",
    numbers_again: "would give a folder number a second time",
    inodes_again: "would give an inode number a second time",
}


@pytest.mark.parametrize(("wreck", "sentence"), BROKEN.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_broken_is_said_and_mended(root: Root, head: Head, wreck: Break, sentence: str) -> None:
    wreck(root, head)
    found = problems(root.store)
    assert [one for one in found if sentence in one], found
    assert all("(--repair would " in one for one in found)
    answer = trio.run(run, Place(root.store, "one"), {"repair": True})
    assert answer["problems"] == []
    assert answer["repaired"]
    contents = {path.read_bytes() for path in root.path.rglob("*") if path.is_file() and "state.db" not in path.name}
    if wreck not in (take_away, make_folder_of_file, lose_folder, settle_a_deletion, write):
        assert b"first" in contents, "nothing of the user's is gone"


def test_a_mended_object_with_edits_is_sent(root: Root, head: Head) -> None:
    write(root, head)
    change_sidecar(root, head)
    trio.run(run, Place(root.store, "one"), {"repair": True})
    record = root.store.record(head.key)
    assert record.dirty
    assert root.store.node(ino(root, head)).dirty


def test_an_object_made_again_is_merged_before_it_is_sent(root: Root, head: Head) -> None:
    make_cycle(root, head)
    trio.run(run, Place(root.store, "one"), {"repair": True})
    record = root.store.record(head.key)
    assert (record.rebuilt, record.dirty, record.base_stamp) == (True, True, LATER)
    assert {path for path, _ in root.store.walk(head.key)} == {"values.json", "a.txt", "d", "d/deep.txt"}


def test_only_a_deep_look_sees_bytes_that_changed_by_themselves(root: Root, head: Head) -> None:
    path = place(root, head, "a.txt")
    times = os.stat(path)
    path.write_bytes(b"f1rst")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert problems(root.store) == []
    [found] = trio.run(lambda: examine(root.store, in_use=True, deep=True))
    assert str(found) == "Notes/a.txt: has other bytes than it had, with the same size and time: is the disk failing?"


def test_damage_of_the_file_itself_is_found(root: Root, head: Head) -> None:
    root.store.db.execute("PRAGMA foreign_keys = OFF")
    root.store.db.execute("DELETE FROM object WHERE key = ?", (head.key,))
    root.store.db.execute("PRAGMA foreign_keys = ON")
    assert any("refers to a row of object that is not there" in one for one in problems(root.store))
    root.wrong_on_purpose = "the object's row is gone"


def test_a_trash_entry_without_its_note_is_found(root: Root, head: Head) -> None:
    trash.leave(root.store, root.store.record(head.key), "gone there")
    (root.path / "trash" / f"{head.folder}.json").unlink()
    assert problems(root.store) == [f"trash/{head.folder}: has no note, so it can't be restored by its name"]
    root.wrong_on_purpose = "the note is gone for good"


def test_what_is_changed_while_the_disk_is_looked_at_is_no_problem(root: Root, head: Head) -> None:
    """The scan is of before the change, the rows are of after it."""
    changed = []

    async def change_in_between() -> None:
        disk = check.look(root.store.files.root, head.folder, head.sidecar)
        root.file(head.ino, "new.txt", b"x")
        changed.extend(check.examine_object(root.store, head.key, disk))
        assert await examine(root.store, in_use=True) == []

    trio.run(change_in_between)
    assert [one.where for one in changed] == ["Notes/new.txt"]


def test_an_object_that_is_being_written_is_not_mended_now(root: Root, head: Head) -> None:
    add(root, head)
    root.store.writers[ino(root, head)] += 1
    place_ = Place(root.store, "one", mounted=True)
    assert len(trio.run(run, place_, {"repair": True})["problems"]) == 2
    del root.store.writers[ino(root, head)]
    assert trio.run(run, place_, {"repair": True})["problems"] == []


def test_what_mending_after_a_kill_has_seen_to_is_not_mended_once_more(root: Root, head: Head) -> None:
    """Without a mount the repair begins with what every start does."""
    unknown_folder(root, head)
    root.store.close(clean=False)
    root.store = root._open()
    answer = trio.run(run, Place(root.store, "one"), {"repair": True})
    assert (answer["problems"], answer["objects"]) == ([], 2)


def test_two_repairs_at_once_take_a_working_copy_in_once(root: Root, head: Head) -> None:
    unknown_folder(root, head)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(run, Place(root.store, "one", mounted=True), {"repair": True})

    trio.run(both)
    assert len(check.known_keys(root.store)) == 2


def test_the_kernel_is_told_of_names_that_mean_something_else(root: Root, head: Head) -> None:
    add(root, head)
    told: list[tuple[int, str]] = []
    answer = trio.run(run, Place(root.store, "one", lambda *name: told.append(name), mounted=True), {"repair": True})
    assert answer["problems"] == []
    assert (head.ino, "found") in told
    assert (head.ino, "a.txt") not in told


def test_a_look_changes_nothing(root: Root, head: Head) -> None:
    write(root, head)
    before = root.store.db.execute("SELECT * FROM object").fetchall()
    answer: Mapping[str, Any] = trio.run(run, Place(root.store, "one"), {})
    assert answer["problems"] == [
        {"where": "Notes/a.txt", "what": "was changed without the state file knowing",
         "repair": "take what is on the disk for the newest state"}
    ]  # fmt: skip
    assert answer["repaired"] == []
    assert root.store.db.execute("SELECT * FROM object").fetchall() == before
    root.wrong_on_purpose = "it was only looked at"


# --------------------------------------------------------------------------------------------------------- labels


def label_of(root: Root, head: Head) -> labels.Label:
    found = labels.read(root.store, head.folder)
    assert found is not None
    return found


def test_a_label_follows_the_agreed_version(root: Root, head: Head) -> None:
    label = label_of(root, head)
    assert (label.oaio_id, label.stamp, label.agreed) == ("oaio Notes", LATER, {"_name": "Notes", "k": 1})
    assert label.values == label.shown == label.agreed


def test_a_label_follows_the_name(root: Root, head: Head) -> None:
    objects.rename(root.store, head, "Diary")
    label = label_of(root, head)
    assert (label.name, label.agreed["_name"], label.values["_name"]) == ("Diary", "Notes", "Diary")


def test_a_label_is_not_written_before_its_rows_are_committed(root: Root, head: Head) -> None:
    def begin_and_fail() -> None:
        with root.store.state.transaction():
            objects.rename(root.store, head, "Diary")
            assert label_of(root, head).name == "Notes"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin_and_fail()
    assert label_of(root, head).name == "Notes"
    root.wrong_on_purpose = "the sidecar waits for the next start to be written back"


def test_a_label_goes_with_its_object(root: Root, head: Head) -> None:
    trash.leave(root.store, root.store.record(head.key), "gone there")
    assert labels.read(root.store, head.folder) is None
    assert os.listdir(root.path / "objects") == []


def test_objects_from_before_there_were_labels_get_theirs(root: Root, head: Head) -> None:
    (root.path / "objects" / f"{head.folder}.json").unlink()
    root.reopen(clean=True)
    assert label_of(root, head).stamp == LATER


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 2}', '{"format": "1"}', "\udcff", "[" * 100_000]
)
def test_a_label_that_makes_no_sense_is_none(root: Root, head: Head, text: str) -> None:
    (root.path / "objects" / f"{head.folder}.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert labels.read(root.store, head.folder) is None


def test_a_kind_that_no_node_can_be_is_left_alone(root: Root, head: Head) -> None:
    os.mkfifo(place(root, head, "pipe"))
    assert problems(root.store) == []
