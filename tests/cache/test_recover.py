"""After an end that was not ordered: each row of the crash table of ``cache/recover.py``."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from oaiofs.cache import objects, records, trash, tree
from oaiofs.cache.records import DISPLACED, Kind
from oaiofs.cache.store import Head
from tests.cache.conftest import Root, fact, remote_object
from tests.cache.unclean import LATER, head, is_dirty, place, with_placeholder

__all__ = ["head"]


def test_nothing_happened(root: Root, head: Head) -> None:
    before = dict(root.store.walk(head.key))
    root.reopen()
    assert dict(root.store.walk(head.key)) == before
    assert not is_dirty(root, head)


def test_an_ordered_end_is_believed(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "a file is put into the working copy"
    place(root, head, "found").write_bytes(b"x")
    root.reopen(clean=True)
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}


@pytest.mark.parametrize("done", [True, False], ids=["renamed", "not yet renamed"])
def test_an_intent_is_carried_out(root: Root, head: Head, done: bool) -> None:
    root.wrong_on_purpose = "a file is renamed without the object being changed"
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    source, inode = root.store.work_path(node), os.stat(place(root, head, "a.txt")).st_ino
    target = f"objects/{head.folder}/moved.txt"
    with root.store.state.transaction():
        objects.move_later(root.store, source, target, inode)
        root.store.update_node(node.ino, name="moved.txt")
    if done:
        place(root, head, "a.txt").rename(place(root, head, "moved.txt"))
    root.reopen()
    assert root.on_disk(head) == {"moved.txt", "b.txt"}
    assert root.store.child(head.ino, "moved.txt").ino == node.ino  # type: ignore[union-attr]
    assert records.intents(root.store.db) == []
    assert root.content(head, "moved.txt") == b"first"


def test_an_intent_never_touches_what_is_newer(root: Root, head: Head) -> None:
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    inode = os.stat(place(root, head, "a.txt")).st_ino
    objects.move_later(root.store, root.store.work_path(node), "", inode)
    place(root, head, "new").write_bytes(b"newer")
    os.utime(place(root, head, "new"), ns=(7, 7))  # another time than the first one's, whatever the clock's tick
    place(root, head, "new").rename(place(root, head, "a.txt"))
    root.reopen()
    assert root.content(head, "a.txt") == b"newer"
    assert is_dirty(root, head)


def test_a_file_without_a_node_is_the_users(root: Root, head: Head) -> None:
    place(root, head, "found.txt").write_bytes(b"found")
    place(root, head, "d").mkdir()
    place(root, head, "d/deep").write_bytes(b"deep")
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt", "found.txt", "d/deep"}
    assert root.store.attached(head.key)["found.txt"].dirty
    assert is_dirty(root, head)


def test_an_editors_own_file_found_makes_nothing_dirty(root: Root, head: Head) -> None:
    place(root, head, ".a.txt.swp").write_bytes(b"vim")
    os.symlink("me@host", place(root, head, ".#a.txt"))
    root.reopen()
    kinds = {path: node.kind for path, node in root.store.walk(head.key)}
    assert (kinds[".a.txt.swp"], kinds[".#a.txt"]) == (Kind.FILE, Kind.LINK)
    assert not is_dirty(root, head)


def test_a_missing_file_that_the_servers_have_is_a_placeholder_again(root: Root, head: Head) -> None:
    place(root, head, "a.txt").unlink()
    root.reopen()
    assert not root.store.attached(head.key)["a.txt"].local
    assert not is_dirty(root, head)


def test_a_missing_file_that_nobody_has_is_gone(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "a.txt"), b"edited")  # type: ignore[arg-type]
    place(root, head, "a.txt").unlink()
    root.reopen()
    assert set(root.store.attached(head.key)) == {"b.txt"}
    assert is_dirty(root, head)


def test_killed_between_a_rename_over_and_its_commit(root: Root, head: Head) -> None:
    """The way careful editors save: the bytes are under the name, whatever the rows say."""
    root.file(head.ino, ".save~", b"saved")
    os.utime(place(root, head, ".save~"), ns=(7, 7))  # later, whatever the disk's clock can tell apart
    place(root, head, ".save~").rename(place(root, head, "a.txt"))
    root.reopen()
    assert root.content(head, "a.txt") == b"saved"
    assert root.store.attached(head.key)["a.txt"].dirty
    assert {path for path, _ in root.store.walk(head.key)} == {"a.txt", "b.txt", "values.json"}
    assert is_dirty(root, head)


@pytest.mark.parametrize(("data", "edited"), [(b"far", False), (b"FAR", True), (b"longer", True)])
def test_bytes_where_a_placeholder_is_expected(root: Root, head: Head, data: bytes, edited: bool) -> None:
    with_placeholder(root, head)
    place(root, head, "a.txt").write_bytes(data)
    root.reopen()
    node = root.store.attached(head.key)["a.txt"]
    assert (node.local, node.dirty, is_dirty(root, head)) == (True, edited, edited)
    assert root.content(head, "a.txt") == data


def test_a_placeholder_without_bytes_stays_one(root: Root, head: Head) -> None:
    with_placeholder(root, head)
    root.reopen()
    assert not root.store.attached(head.key)["a.txt"].local
    assert not is_dirty(root, head)


@pytest.mark.parametrize("data", [b"other", b"longer than before"])
def test_a_file_written_without_us_is_dirty(root: Root, head: Head, data: bytes) -> None:
    place(root, head, "a.txt").write_bytes(data)
    os.utime(place(root, head, "a.txt"), ns=(7, 7))
    root.reopen()
    assert root.store.attached(head.key)["a.txt"].dirty
    assert is_dirty(root, head)


def test_a_dirty_file_stays_dirty(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "a.txt"), b"edited")  # type: ignore[arg-type]
    root.reopen()
    assert root.store.attached(head.key)["a.txt"].dirty
    assert is_dirty(root, head)
    assert root.content(head, "a.txt") == b"edited"


def test_a_sidecar_that_does_not_show_the_values_is_written_anew(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "values are set without a word about a change"
    root.store.update_object(head.key, values={"_name": "Notes", "k": 1})
    root.reopen()
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes", "k": 1}
    place(root, head, "values.json").unlink()
    root.reopen()
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes", "k": 1}


def test_a_sidecar_written_and_not_closed_is_judged(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "values.json"), b'{"_name": "Notes", "k": 2}')  # type: ignore[arg-type]
    root.reopen()
    assert root.store.record(head.key).values == {"_name": "Notes", "k": 2}
    assert is_dirty(root, head)


def test_a_sidecar_emptied_and_not_yet_written_shows_the_values_again(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "values.json"), b"")  # type: ignore[arg-type]
    root.reopen()
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes"}
    assert root.store.record(head.key).draft is None
    assert not is_dirty(root, head)


def test_half_a_sidecar_is_a_draft(root: Root, head: Head) -> None:
    root.write(root.store.child(head.ino, "values.json"), b'{"_name": "No')  # type: ignore[arg-type]
    root.reopen()
    record = root.store.record(head.key)
    assert record.draft is not None
    assert record.values == {"_name": "Notes"}
    assert root.content(head, "values.json") == b'{"_name": "No'
    root.reopen()
    assert root.content(head, "values.json") == b'{"_name": "No', "still, after another one"


def test_killed_between_a_saved_sidecars_rename_and_its_commit(root: Root, head: Head) -> None:
    """The row of the replaced sidecar was told before, as for any byte that changes."""
    root.file(head.ino, ".save~", b'{"_name": "Notes", "k": 3}')
    root.store.update_node(root.store.child(head.ino, "values.json").ino, dirty=1)  # type: ignore[union-attr]
    place(root, head, ".save~").rename(place(root, head, "values.json"))
    root.reopen()
    assert root.store.record(head.key).values == {"_name": "Notes", "k": 3}
    assert is_dirty(root, head)


@pytest.mark.parametrize("written", [True, False])
def test_displaced_bytes(root: Root, head: Head, written: bool) -> None:
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.store.state.set_meta("device_id", "one")
    root.store.writers[node.ino] += 1
    with_placeholder(root, head)
    assert root.store.node(node.ino).parent == DISPLACED
    if written:
        tree.mark_written(root.store, root.store.node(node.ino))
        (root.path / "detached" / str(node.ino)).write_bytes(b"mine")
    root.reopen()
    assert os.listdir(root.path / "detached") == []
    copies = set(root.store.attached(head.key)) - {"a.txt", "b.txt"}
    if written:
        (copy,) = copies
        assert copy.startswith("a (conflict one ")
        assert root.content(head, copy) == b"mine"
        assert is_dirty(root, head)
    else:
        assert copies == set()
        assert not is_dirty(root, head)


def test_displaced_bytes_of_a_folder_that_is_a_file_by_now(root: Root, head: Head) -> None:
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    node = root.file(folder.ino, "x.txt", b"old")
    root.agree(head)
    root.store.state.set_meta("device_id", "one")
    root.store.writers[node.ino] += 1
    files = {"d": fact(b"a file")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    root.write(root.store.node(node.ino), b"mine")
    root.reopen()
    assert os.listdir(root.path / "detached") == []
    assert root.content(head, f"d (conflict one {LATER})/x.txt") == b"mine"


@pytest.mark.logs_errors
def test_displaced_bytes_that_cannot_be_brought_back_keep_no_others_waiting(
    root: Root, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [root.store.child(head.ino, name) for name in ("a.txt", "b.txt")]
    inos = [node.ino for node in nodes if node is not None]
    root.store.writers.update(inos)
    root.pull(head, remote_object({"_name": "Notes"}, {}, LATER), {})
    for ino in inos:
        root.write(root.store.node(ino), b"mine %d" % ino)
    refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF parent ON node WHEN OLD.ino = {} BEGIN {}; END"
    root.store.db.execute(refuse.format(inos[0], "SELECT RAISE(ABORT, 'no')"))
    root.reopen()
    assert os.listdir(root.path / "detached") == [str(inos[0])]
    assert root.store.node(inos[0]).parent == DISPLACED
    [copy] = root.store.attached(head.key)
    assert root.content(head, copy) == b"mine %d" % inos[1]
    stays = f"stays in {root.path}/detached/{inos[0]}"
    assert f"Notes/a.txt, which was open, could not be brought back, and {stays}" in caplog.text

    root.store.db.execute("DROP TRIGGER refuse")
    root.reopen(clean=True)
    assert os.listdir(root.path / "detached") == []
    contents = {root.content(head, copy) for copy in root.store.attached(head.key)}
    assert contents == {b"mine %d" % ino for ino in inos}


def test_folders_follow_whatever_is_there(root: Root, head: Head) -> None:
    tree.make_folder(root.store, head.ino, "lost", 0o755)
    place(root, head, "lost").rmdir()
    place(root, head, "found").mkdir()
    root.reopen()
    kinds = {path: node.kind for path, node in root.store.walk(head.key)}
    assert kinds["lost"] is kinds["found"] is Kind.DIRECTORY
    assert place(root, head, "lost").is_dir()
    assert not is_dirty(root, head)


def test_a_lost_folder_of_agreed_files_is_placeholders_again(root: Root, head: Head) -> None:
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    root.file(folder.ino, "deep", b"deep")
    root.agree(head, LATER)
    for path in ("d/deep", "a.txt", "b.txt", "values.json"):
        place(root, head, path).unlink()
    place(root, head, "d").rmdir()
    place(root, head, "").rmdir()
    root.reopen()
    assert {path: node.local for path, node in root.store.attached(head.key).items()} == {
        "a.txt": False, "b.txt": False, "d/deep": False
    }  # fmt: skip
    assert not is_dirty(root, head)
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes"}


def test_a_folder_where_a_file_was(root: Root, head: Head) -> None:
    place(root, head, "a.txt").unlink()
    place(root, head, "a.txt").mkdir()
    place(root, head, "a.txt/inside").write_bytes(b"x")
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt/inside", "b.txt"}
    assert is_dirty(root, head)


def test_downloads_and_snapshots_on_their_way_are_cleared_away(root: Root, head: Head) -> None:
    (root.path / "staging" / "1-1").write_bytes(b"half")
    root.reopen(clean=True)
    assert os.listdir(root.path / "staging") == []


def test_folders_in_the_staging_folder_are_cleared_away_and_no_link_is_followed(
    root: Root, head: Head, tmp_path: Path
) -> None:
    """A command that was killed while it copied a folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "stays.txt").write_bytes(b"stays")
    folder = root.path / "staging" / "1-2"
    (folder / "d").mkdir(parents=True)
    (folder / "d" / "half").write_bytes(b"half")
    (folder / "inside").symlink_to(outside)
    (root.path / "staging" / "1-3").symlink_to(outside)
    os.mkfifo(root.path / "staging" / "1-4")
    root.reopen(clean=True)
    assert os.listdir(root.path / "staging") == []
    assert os.listdir(outside) == ["stays.txt"]


def test_what_cannot_be_removed_from_the_staging_folder_keeps_nobody_from_mounting(
    root: Root, head: Head, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1-1", "1-2", "1-3"):
        (root.path / "staging" / name).write_bytes(b"half")
    unlink = os.unlink

    def refuse(path: str, *arguments: object, **more: object) -> None:
        if str(path).endswith("/1-2"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        unlink(path, *arguments, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        root.reopen()
    assert os.listdir(root.path / "staging") == ["1-2"]
    assert "staging/1-2 could not be removed" in caplog.text
    root.reopen()


def test_an_object_on_its_way_into_the_trash_gets_there(root: Root, head: Head) -> None:
    with root.store.state.transaction():
        trash.to_trash(root.store, root.store.record(head.key), "test")
        root.store.delete_object(head.key)
    root.reopen()  # before its folder was moved
    assert root.store.heads == {}
    assert (root.path / "trash" / head.folder / "a.txt").read_bytes() == b"first"


def test_recovering_twice_is_recovering_once(root: Root, head: Head) -> None:
    place(root, head, "found.txt").write_bytes(b"found")
    place(root, head, "b.txt").write_bytes(b"edited by hand")  # of another length
    root.reopen()
    once = dict(root.store.walk(head.key))
    seq = root.store.record(head.key).local_seq
    root.reopen()
    assert dict(root.store.walk(head.key)) == once
    assert root.store.record(head.key).local_seq == seq


def test_an_object_that_was_just_being_made_leaves_nothing(root: Root, head: Head) -> None:
    (root.path / "objects" / "New.2" / "d" / "e").mkdir(parents=True)
    root.reopen()
    assert set(os.listdir(root.path / "objects")) == {head.folder, f"{head.folder}.json"}


@pytest.mark.parametrize("path", ["file.txt", "d/deep.txt", "values.json"])
def test_a_working_copy_of_no_object_is_made_one(root: Root, head: Head, path: str) -> None:
    place = root.path / "objects" / "Lost.7" / path
    place.parent.mkdir(parents=True)
    place.write_bytes(b'{"k": "an edit?"}')
    root.reopen()
    assert place.read_bytes() == b'{"k": "an edit?"}'
    assert "Lost" in root.store.by_name


def test_killed_before_a_committed_rename_over_another_file_was_carried_out(root: Root, head: Head) -> None:
    """Not one file more: a clean file under its old name would be a placeholder again."""
    node, target = root.store.attached(head.key)["a.txt"], root.store.attached(head.key)["b.txt"]
    store = root.store
    with store.state.transaction():
        objects.move_later(store, store.work_path(node), store.work_path(target), os.stat(store.absolute(node)).st_ino)
        objects.move_later(store, store.work_path(target), "", os.stat(store.absolute(target)).st_ino)
        store.delete_node(target.ino)
        store.update_node(node.ino, name="b.txt")
        store.touch(head.key)
    root.reopen()
    assert set(root.store.attached(head.key)) == {"b.txt"}
    assert root.content(head, "b.txt") == b"first"
    assert root.on_disk(head) == {"b.txt"}
    assert records.conflicts(root.store.db) == []


def test_displaced_bytes_that_were_about_to_be_written_and_were_not(root: Root, head: Head) -> None:
    """The rows know first; a kill before the first byte changes makes no conflict."""
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.store.writers[node.ino] += 1
    with_placeholder(root, head)
    tree.mark_written(root.store, root.store.node(node.ino))
    root.reopen()
    assert set(root.store.attached(head.key)) == {"a.txt", "b.txt"}
    assert records.conflicts(root.store.db) == []
