"""What the servers do to the tree: names change, inodes never do, and nothing of the user's is lost."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import agree, apply, conflicts, objects, records, texts, trash, tree
from oaiofs.cache.check import Problem, Remedy
from oaiofs.cache.records import DISPLACED, Node
from oaiofs.cache.repair import repair
from oaiofs.cache.store import ROOT_INO, Head
from oaiofs.cache.texts import MergedText
from oaiofs.cache.workdir import Workdir
from oaiofs.core.model import FileFact, OaioId, RemoteObject, Right, Stamp, Version
from tests.cache.conftest import Root, fact, remote_object
from tests.devicekit import problems

LATER = "20260202000000000000"


def agreed(root: Root, **contents: bytes) -> Head:
    """An object whose files, by name without the extension .txt, are agreed with the server."""
    head = root.object()
    for name, data in contents.items():
        root.file(head.ino, f"{name}.txt", data)
    root.agree(head)
    return head


def newer(values: dict[str, Any] | None = None, **contents: bytes) -> tuple[RemoteObject, dict[str, FileFact]]:
    files = {f"{name}.txt": fact(data) for name, data in contents.items()}
    return remote_object(values or {"_name": "Notes"}, files, LATER), files


def paths(root: Root, head: Head) -> dict[str, bool]:
    """Path -> whether its bytes are here."""
    return {path: node.local for path, node in root.store.attached(head.key).items()}


def test_only_the_other_side_moved(root: Root) -> None:
    head = agreed(root, same=b"same", edited=b"old", gone=b"gone")
    inodes = {path: node.ino for path, node in root.store.attached(head.key).items()}
    applied = root.pull(head, *newer({"_name": "Notes", "k": 1}, same=b"same", edited=b"new", added=b"added"))
    assert paths(root, head) == {"same.txt": True, "edited.txt": False, "added.txt": False}
    assert root.on_disk(head) == {"same.txt"}
    after = {path: node.ino for path, node in root.store.attached(head.key).items()}
    assert after["same.txt"] == inodes["same.txt"]
    assert after["edited.txt"] != inodes["edited.txt"], "the name has a new inode"
    names = {(head.ino, name) for name in ("edited.txt", "gone.txt", "added.txt", "values.json")}
    assert applied.names == names
    record = root.store.record(head.key)
    assert not record.dirty
    assert (record.base_stamp, record.values) == (LATER, {"_name": "Notes", "k": 1})


def test_a_rename_there_keeps_the_bytes_here(root: Root) -> None:
    head = agreed(root, old=b"content")
    ino = root.store.child(head.ino, "old.txt").ino  # type: ignore[union-attr]
    files = {"d/new.txt": fact(b"content")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert paths(root, head) == {"d/new.txt": True}
    assert root.content(head, "d/new.txt") == b"content"
    assert root.store.attached(head.key)["d/new.txt"].ino == ino
    assert not root.store.record(head.key).dirty


def test_two_edits_keep_both(root: Root) -> None:
    head = agreed(root, a=b"old")
    root.write(root.store.child(head.ino, "a.txt"), b"mine")  # type: ignore[arg-type]
    applied = root.pull(head, *newer(a=b"theirs"))
    (copy,) = set(paths(root, head)) - {"a.txt"}
    assert copy.startswith("a (conflict one ")
    assert root.content(head, copy) == b"mine"
    assert paths(root, head) == {"a.txt": False, copy: True}
    assert root.store.record(head.key).dirty, "the copy is to be sent"
    assert applied.conflicts == 1
    (noted,) = records.conflicts(root.store.db)
    assert (noted.kind, noted.path, noted.copy) == ("file", "a.txt", copy)


def test_equal_edits_are_adopted(root: Root) -> None:
    head = agreed(root, a=b"old")
    root.write(root.store.child(head.ino, "a.txt"), b"both")  # type: ignore[arg-type]
    applied = root.pull(head, *newer(a=b"both"))
    assert applied.conflicts == 0
    assert paths(root, head) == {"a.txt": True}
    assert not root.store.record(head.key).dirty


def test_an_edit_here_survives_a_deletion_there_and_stays_dirty(root: Root) -> None:
    head = agreed(root, a=b"old", b=b"b")
    root.write(root.store.child(head.ino, "a.txt"), b"mine")  # type: ignore[arg-type]
    root.pull(head, *newer(b=b"b"))
    assert root.content(head, "a.txt") == b"mine"
    assert root.store.record(head.key).dirty


def test_values_are_merged_and_conflicts_recorded(root: Root) -> None:
    head = agreed(root)
    root.store.update_object(head.key, values={"_name": "Notes", "k": "mine", "own": 1})
    root.store.touch(head.key)
    applied = root.pull(head, *newer({"_name": "Notes", "k": "theirs", "new": 2}))
    record = root.store.record(head.key)
    assert record.values == {"_name": "Notes", "k": "theirs", "new": 2, "own": 1}
    assert record.base_values == {"_name": "Notes", "k": "theirs", "new": 2}
    assert record.dirty
    assert applied.conflicts == 1
    (noted,) = records.conflicts(root.store.db)
    assert (json.loads(noted.path), json.loads(noted.mine), json.loads(noted.theirs)) == (["k"], "mine", "theirs")
    assert json.loads(root.content(head, "values.json")) == record.values


def test_a_file_becomes_a_folder_and_back(root: Root) -> None:
    head = agreed(root, a=b"file")
    files = {"a.txt/inside": fact(b"x")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert paths(root, head) == {"a.txt/inside": False}
    files = {"a.txt": fact(b"again")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER[:-1] + "1"), files)
    assert paths(root, head) == {"a.txt": False}
    assert root.on_disk(head) == set()


def test_an_editors_own_file_makes_room(root: Root) -> None:
    head = agreed(root)
    root.file(head.ino, "thesis~", b"my backup")
    files = {"thesis~": fact(b"attached")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    found = {path: node for path, node in root.store.walk(head.key) if path != "values.json"}
    assert not found.pop("thesis~").local
    ((copy, node),) = found.items()
    assert Path(root.store.absolute(node)).read_bytes() == b"my backup", copy


def test_an_attached_file_called_as_the_sidecar_keeps_its_name(root: Root) -> None:
    head = agreed(root)
    files = {"values.json": fact(b"attached")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert paths(root, head) == {"values.json": False}
    assert root.store.heads[head.key].sidecar == "values~.json"
    assert json.loads(root.content(head, "values~.json")) == {"_name": "Notes"}
    root.pull(head, remote_object({"_name": "Notes"}, {}, LATER[:-1] + "1"), {})
    assert root.store.heads[head.key].sidecar == "values.json"
    assert json.loads(root.content(head, "values.json")) == {"_name": "Notes"}


def test_an_object_is_renamed_there(root: Root) -> None:
    head = agreed(root)
    applied = root.pull(head, *newer({"_name": "Diary"}))
    assert set(root.store.by_name) == {"Diary"}
    assert {(ROOT_INO, "Notes"), (ROOT_INO, "Diary")} <= applied.names


def test_empty_folders_of_the_user_stay_and_emptied_ones_go(root: Root) -> None:
    head = root.object()
    tree.make_folder(root.store, head.ino, "mine", 0o755)
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    deep = tree.make_folder(root.store, folder.ino, "deep", 0o755)
    root.file(deep.ino, "f", b"x")
    root.agree(head)
    root.pull(head, *newer())
    assert root.on_disk(head) == {"mine"}


@pytest.mark.parametrize("written", [True, False])
def test_a_displaced_file(root: Root, written: bool) -> None:
    head = agreed(root, a=b"old")
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.store.writers[node.ino] += 1
    descriptor = os.open(root.store.absolute(node), os.O_RDWR)
    root.pull(head, *newer(a=b"theirs"))
    displaced = root.store.node(node.ino)
    assert displaced.parent == DISPLACED
    assert os.fstat(descriptor).st_ino == os.stat(root.path / "detached" / str(node.ino)).st_ino
    if written:
        tree.mark_written(root.store, displaced)
        os.write(descriptor, b"mine")
    os.close(descriptor)
    root.store.writers[node.ino] -= 1
    appeared = apply.take_back(root.store, root.store.node(node.ino), "one")
    assert os.listdir(root.path / "detached") == []
    if written:
        [(parent, name)] = appeared
        assert parent == head.ino
        assert name.startswith("a (conflict one ")
        assert root.content(head, name) == b"mine"
        assert root.store.record(head.key).dirty
        assert len(records.conflicts(root.store.db)) == 1
    else:
        assert not appeared
        assert root.store.find_node(node.ino) is None
        assert records.conflicts(root.store.db) == []
        assert paths(root, head) == {"a.txt": False}


MINE, THEIRS, MERGED = b"MINE b", b"a THEIRS", b"MINE THEIRS"


def merged_text(root: Root, node: Node) -> MergedText:
    staged = root.store.files.new_staging()
    place = Path(root.store.files.absolute(staged))
    place.write_bytes(MERGED)
    os.utime(place, ns=(fact(MERGED).mtime_ns,) * 2)
    return MergedText(node.ino, fact(b"a b"), fact(MINE), fact(THEIRS), fact(MERGED), staged)


def two_edits(root: Root) -> tuple[Head, Node]:
    head = agreed(root, a=b"a b")
    root.write(root.store.child(head.ino, "a.txt"), MINE)  # type: ignore[arg-type]
    root.hash_all(head.key)
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    return head, node


def test_a_merged_text_takes_the_name(root: Root) -> None:
    head, node = two_edits(root)
    root.store.update_node(node.ino, mode=0o750)
    applied = root.pull(head, *newer(a=THEIRS), {"a.txt": merged_text(root, node)})
    assert root.content(head, "a.txt") == MERGED
    after = root.store.child(head.ino, "a.txt")
    assert after is not None
    assert after.ino != node.ino
    assert (after.local, after.dirty, after.mode, after.md5) == (True, False, 0o750, fact(MERGED).md5)
    assert Path(root.store.absolute(after)).stat().st_mode & 0o777 == 0o750
    assert applied.conflicts == 0
    assert (head.ino, "a.txt") in applied.names
    assert root.store.record(head.key).dirty, "the servers are to learn of it"
    assert root.on_disk(head) == {"a.txt"}


def test_a_merged_text_that_is_what_came_in_is_nothing_to_send(root: Root) -> None:
    head, node = two_edits(root)
    text = replace(merged_text(root, node), theirs=fact(MERGED))
    root.pull(head, *newer(a=MERGED), {"a.txt": text})
    assert root.content(head, "a.txt") == MERGED
    assert paths(root, head) == {"a.txt": True}
    assert not root.store.record(head.key).dirty


@pytest.mark.parametrize("spoil", ["written", "opened", "another inode", "another base", "another version"])
def test_a_merged_text_that_is_not_true_any_more_is_left(root: Root, spoil: str) -> None:
    head, node = two_edits(root)
    text = merged_text(root, node)
    mine = MINE
    if spoil == "written":
        mine = b"changed since"
        root.write(root.store.node(node.ino), mine)
    elif spoil == "opened":
        root.store.writers[node.ino] += 1
    elif spoil == "another inode":
        text = replace(text, ino=node.ino + 1)
    elif spoil == "another base":
        text = replace(text, base=fact(b"b"))
    else:
        text = replace(text, theirs=fact(b"t"))
    root.pull(head, *newer(a=THEIRS), {"a.txt": text})
    (copy,) = set(paths(root, head)) - {"a.txt"}
    assert root.content(head, copy) == mine
    assert paths(root, head) == {"a.txt": False, copy: True}
    texts.discard(root.store, {"a.txt": text})
    assert list((root.path / "staging").iterdir()) == []


class Killed(BaseException):
    """The process ended here."""


class Mortal(Workdir):
    """A client root whose process is killed before or after its next rename."""

    def __init__(self, root: Path, at: str) -> None:
        super().__init__(root)
        self.at = at

    def move(self, source: str, target: str) -> None:
        if self.at == "before the rename":
            raise Killed
        super().move(source, target)
        raise Killed


@pytest.mark.parametrize("at", ["before the rename", "after the rename"])
def test_a_kill_while_a_merged_text_is_put_in_place(root: Root, at: str) -> None:
    head, node = two_edits(root)
    root.store.files = Mortal(root.path, at)
    with pytest.raises(Killed):
        root.pull(head, *newer(a=THEIRS), {"a.txt": merged_text(root, node)})
    assert root.content(head, "a.txt") == (MINE if at == "before the rename" else MERGED), "never without a file"
    root.reopen()
    assert root.content(head, "a.txt") == MERGED
    assert root.on_disk(head) == {"a.txt"}
    assert records.intents(root.store.db) == []
    assert list((root.path / "staging").iterdir()) == []
    after = root.store.child(head.ino, "a.txt")
    assert after is not None
    assert after.md5 == fact(MERGED).md5
    assert root.store.record(head.key).dirty


class Refusing(Workdir):
    """A client root on a disk that refuses renames."""

    def move(self, source: str, target: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), source)


def test_a_merged_text_that_the_disk_does_not_let_in_waits_with_what_it_is_to_replace(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    head, node = two_edits(root)
    root.store.files = Refusing(root.path)
    text = merged_text(root, node)
    root.pull(head, *newer(a=THEIRS), {"a.txt": text})
    assert root.content(head, "a.txt") == MINE, "never without a file"
    assert [one for one in problems(root.store) if one.startswith("staging/") and "was to be" not in one] == []
    repair(root.store, [Problem("an intent", "is left", Remedy.TIDY)], in_use=False)
    assert "could not be moved" in caplog.text
    caplog.clear()
    assert (root.path / text.staged).read_bytes() == MERGED
    root.reopen()
    assert root.content(head, "a.txt") == MERGED
    assert root.on_disk(head) == {"a.txt"}
    assert records.intents(root.store.db) == []


def test_what_waits_for_its_rename_outlives_a_start(root: Root, caplog: pytest.LogCaptureFixture) -> None:
    _, node = two_edits(root)
    text, store, blocked = merged_text(root, node), root.store, root.path / "objects" / "blocked"
    blocked.write_bytes(b"a file where a folder is to be")
    objects.move_later(store, text.staged, "objects/blocked/a.txt", store.files.inode(text.staged) or 0)
    root.reopen()
    assert "could not be moved" in caplog.text
    caplog.clear()
    assert (root.path / text.staged).read_bytes() == MERGED
    blocked.unlink()
    root.reopen()
    assert (blocked / "a.txt").read_bytes() == MERGED
    assert list((root.path / "staging").iterdir()) == []


@pytest.mark.parametrize("stem", ["a", "x" * 251])
def test_a_displaced_file_written_after_its_object_left_goes_to_the_trash(root: Root, stem: str) -> None:
    head = agreed(root, **{stem: b"old"})
    node = root.store.child(head.ino, f"{stem}.txt")
    assert node is not None
    root.store.writers[node.ino] += 1
    root.pull(head, *newer())
    tree.mark_written(root.store, root.store.node(node.ino))
    (root.path / "detached" / str(node.ino)).write_bytes(b"mine")
    trash.remove(root.store, root.store.heads[head.key])
    assert apply.take_back(root.store, root.store.node(node.ino), "one") == frozenset()
    kept = [path.read_bytes() for path in (root.path / "trash").rglob("*") if path.is_file()]
    assert b"mine" in kept


def test_settling_compares_and_sets(root: Root) -> None:
    head = agreed(root, a=b"a")
    root.write(root.store.child(head.ino, "a.txt"), b"b")  # type: ignore[arg-type]
    root.hash_all(head.key)
    seq = root.store.record(head.key).local_seq
    remote, files = newer(a=b"b")
    version = Version(remote.stamp, remote.values, files)
    root.store.touch(head.key)  # while it was on its way
    agree.settle(root.store, head.key, seq, remote, version)
    record = root.store.record(head.key)
    assert record.dirty
    assert record.base_stamp == LATER
    assert record.pending_since is not None
    agree.settle(root.store, head.key, seq + 1, remote, version)
    record = root.store.record(head.key)
    assert not record.dirty
    assert record.pending_since is None
    assert head.key not in root.store.changes.objects


def test_a_touch_is_nothing_to_push(root: Root) -> None:
    head = agreed(root, a=b"a")
    root.write(root.store.child(head.ino, "a.txt"), b"a")  # type: ignore[arg-type]
    root.hash_all(head.key)
    agree.nothing_to_push(root.store, head.key, root.store.record(head.key).local_seq)
    assert not root.store.record(head.key).dirty


def test_a_pending_version_becomes_the_base(root: Root) -> None:
    root.wrong_on_purpose = "the pending version is made up"
    head = agreed(root, a=b"a")
    files = {"b.txt": fact(b"b")}
    pending = Version(Stamp(LATER), {"_name": "Notes", "k": 1}, files)
    root.store.update_object(head.key, pending=pending)
    assert root.store.record(head.key).pending == pending, "survives its way through the database"
    agree.rebase_on_pending(root.store, head.key)
    record = root.store.record(head.key)
    assert (record.base_stamp, record.base_values, record.pending) == (LATER, {"_name": "Notes", "k": 1}, None)
    assert root.store.base_files(head.key) == files


def test_a_hash_counts_only_for_the_bytes_that_were_read(root: Root) -> None:
    head = agreed(root, a=b"a")
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.write(node, b"b")
    writes = root.store.writes[node.ino]
    root.store.marked.discard(node.ino)
    root.write(root.store.node(node.ino), b"c")  # while it is being hashed
    assert not apply.hashed(root.store, node.ino, writes, 1, fact(b"b").md5, 0)
    assert root.store.node(node.ino).dirty


def test_an_edit_that_was_displaced_while_it_was_hashed_still_comes_back(root: Root) -> None:
    """It was renamed into another object meanwhile, whose version from elsewhere took its name."""
    head = agreed(root, a=b"old")
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.store.writers[node.ino] += 1
    root.pull(head, *newer(a=THEIRS))
    root.write(root.store.node(node.ino), b"mine")
    root.store.marked.discard(node.ino)
    assert not apply.hashed(root.store, node.ino, root.store.writes[node.ino], 4, fact(b"mine").md5, 0)
    del root.store.writers[node.ino]
    appeared = apply.take_back(root.store, root.store.node(node.ino), "one")
    [(_, name)] = appeared
    assert root.content(head, name) == b"mine"


def displaced_in_folder(root: Root, head: Head, folder: str, *names: str) -> list[Node]:
    """Files of one folder that programs have open and write to, while a version makes a file of the folder."""
    made = tree.make_folder(root.store, head.ino, folder, 0o755)
    nodes = [root.file(made.ino, name, b"old") for name in names]
    root.agree(head)
    root.store.writers.update(node.ino for node in nodes)
    files = {folder: fact(b"a file")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    nodes = [root.store.node(node.ino) for node in nodes]
    for node in nodes:
        root.write(node, f"my {node.name}".encode())
        del root.store.writers[node.ino]
    return [root.store.node(node.ino) for node in nodes]


def test_an_edit_in_a_folder_that_became_a_file_comes_back_in_a_copy_of_the_folder(root: Root) -> None:
    """As where it was not open: the folder is what lost its name, and its files stay together."""
    head = root.object()
    for node in displaced_in_folder(root, head, "d", "x.txt", "y.txt"):
        assert apply.take_back(root.store, node, "one")
    copy = f"d (conflict one {LATER})"
    assert set(paths(root, head)) == {"d", f"{copy}/x.txt", f"{copy}/y.txt"}
    assert root.content(head, f"{copy}/x.txt") == b"my d/x.txt"
    assert root.content(head, f"{copy}/y.txt") == b"my d/y.txt"
    assert os.listdir(root.path / "detached") == []
    [conflict] = conflicts.found(root.store)
    assert isinstance(conflict, conflicts.FileConflict)
    assert (conflict.path, conflict.copy_path) == ("d", copy)
    assert root.store.record(head.key).dirty


def test_an_edit_in_a_folder_that_became_a_file_twice_over(root: Root) -> None:
    """What has the copies' names by now keeps them."""
    head = root.object()
    nodes = displaced_in_folder(root, head, "d", "x.txt")
    copy = f"d (conflict one {LATER})"
    root.file(head.ino, copy, b"somebody's")
    assert apply.take_back(root.store, nodes[0], "one")
    assert root.content(head, copy) == b"somebody's"
    assert root.content(head, f"{copy} ~2/x.txt") == b"my d/x.txt"


def test_an_edit_beside_another_of_its_name_in_the_copy_of_its_folder(root: Root) -> None:
    head = root.object()
    nodes = displaced_in_folder(root, head, "d", "x.txt")
    copy = tree.make_folder(root.store, head.ino, f"d (conflict one {LATER})", 0o755)
    root.file(copy.ino, "x.txt", b"somebody's")
    assert apply.take_back(root.store, nodes[0], "one")
    assert root.content(head, f"{copy.name}/x.txt") == b"somebody's"
    assert root.content(head, f"{copy.name}/x (conflict one {LATER}).txt") == b"my d/x.txt"


def test_an_edit_in_a_folder_whose_name_the_sidecar_has_by_now(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    node = root.file(folder.ino, "x.txt", b"old")
    files = {"values.json/x.txt": fact(b"old")}
    root.store.writers[node.ino] += 1
    root.agree(head)
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert root.store.at(root.store.heads[head.key], "values.json/x.txt") is not None
    moved = root.store.node(node.ino)
    root.pull(head, remote_object({"_name": "Notes"}, {}, "20260303000000000000"), {})
    root.write(root.store.node(moved.ino), b"mine")
    del root.store.writers[moved.ino]
    assert apply.take_back(root.store, root.store.node(moved.ino), "one")
    assert root.store.heads[head.key].sidecar == "values.json"
    assert root.content(head, "values (conflict one 20260303000000000000).json/x.txt") == b"mine"


def test_downloaded_bytes_take_the_placeholders_place(root: Root) -> None:
    root.wrong_on_purpose = "downloads that are refused are left in the staging folder"
    head = agreed(root)
    root.pull(head, *newer(a=b"far"))
    node = root.store.child(head.ino, "a.txt")
    assert node is not None

    def staged() -> str:
        path = root.store.files.new_staging()
        Path(root.store.files.absolute(path)).write_bytes(b"far")
        return path

    assert not apply.hydrated(root.store, node.ino, staged(), 3, fact(b"FAR").md5), "not what was announced"
    assert apply.hydrated(root.store, node.ino, staged(), 3, fact(b"far").md5)
    assert root.content(head, "a.txt") == b"far"
    after = root.store.node(node.ino)
    assert (after.local, after.dirty) == (True, False)
    assert Path(root.store.absolute(after)).stat().st_mtime_ns == node.mtime_ns
    assert not apply.hydrated(root.store, node.ino, staged(), 3, fact(b"far").md5), "once"
    assert not root.store.record(head.key).dirty


def test_what_a_failed_application_did_is_undone(root: Root) -> None:
    head = agreed(root, a=b"old", b=b"b")
    before = dict(root.store.walk(head.key))
    remote, files = newer(a=b"new")
    broken = RemoteObject(
        OaioId("oaio Notes"), Stamp(LATER), {"_name": object()}, tuple(files), Right.CREATE, "Digi"
    )  # fmt: skip
    with pytest.raises((TypeError, AttributeError)):
        root.pull(head, broken, files)
    assert dict(root.store.walk(head.key)) == before
    assert root.on_disk(head) == {"a.txt", "b.txt"}
    assert records.intents(root.store.db) == []
    root.pull(head, remote, files)
    assert paths(root, head) == {"a.txt": False}
