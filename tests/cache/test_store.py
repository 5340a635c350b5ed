"""The client root as a tree: numbers, names, paths, and what counts as a change."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiofs.cache import records, trash, tree
from oaiofs.cache.workdir import Workdir
from oaiofs.core.model import Right
from oaiofs.errors import Stale, StateError
from tests.cache.conftest import Root


def test_inode_numbers_are_never_used_twice(root: Root) -> None:
    head = root.object()
    used = {root.file(head.ino, f"f{number}").ino for number in range(5)}
    last = root.file(head.ino, "last")
    tree.unlink(root.store, last)
    used |= {last.ino, head.ino}
    for clean in (True, False):
        root.reopen(clean=clean)
        new = root.file(head.ino, f"after {clean}").ino
        assert new not in used
        used.add(new)


def test_everything_is_there_again_after_a_restart(root: Root) -> None:
    head = root.object("Größe")
    folder = tree.make_folder(root.store, head.ino, "d", 0o750)
    file = root.file(folder.ino, "f.txt", b"x")
    before = {path: (node.ino, node.mode) for path, node in root.store.walk(head.key)}
    root.reopen(clean=True)
    assert root.store.by_name["Größe"].ino == head.ino
    assert {path: (node.ino, node.mode) for path, node in root.store.walk(head.key)} == before
    assert root.store.path_in_object(root.store.node(file.ino)) == "d/f.txt"


def test_what_is_gone_says_so(root: Root) -> None:
    with pytest.raises(Stale):
        root.store.node(4711)
    assert root.store.find_node(4711) is None
    with pytest.raises(StateError):
        root.store.record(4711)


def test_attached_files_are_those_that_belong_to_versions(root: Root) -> None:
    head = root.object()
    tree.make_folder(root.store, head.ino, "d", 0o755)
    tree.make_link(root.store, head.ino, ".#lock", "me@host")
    for name in ("a.txt", "a.txt~", ".a.txt.swp"):
        root.file(head.ino, name)
    assert set(root.store.attached(head.key)) == {"a.txt"}
    assert {path for path, _ in root.store.walk(head.key)} == {
        "values.json", "d", ".#lock", "a.txt", "a.txt~", ".a.txt.swp"
    }  # fmt: skip


def test_a_name_that_the_agreed_version_has_is_no_editors_own(root: Root) -> None:
    head = root.object()
    root.file(head.ino, "thesis~", b"x")
    assert not root.store.attached(head.key)
    records.set_base_files(root.store.db, head.key, {"thesis~": root.store.child(head.ino, "thesis~").fact})  # type: ignore[union-attr]
    assert set(root.store.attached(head.key)) == {"thesis~"}


def test_a_change_makes_the_object_dirty_and_rings(root: Root) -> None:
    head = root.object()
    rung: list[int] = []
    root.store.doorbell = rung.append
    root.agree(head)
    assert not root.store.record(head.key).dirty
    root.steady, root.wall = 10.0, root.wall + 10
    root.file(head.ino, "a.txt", b"x")
    record = root.store.record(head.key)
    assert record.dirty
    assert record.pending_since == root.wall
    assert rung == [head.key]
    assert root.store.changes.objects[head.key].first == 10.0
    root.steady, root.wall = 11.0, root.wall + 1
    root.store.touch(head.key)
    assert root.store.record(head.key).pending_since == root.wall - 1, "of the first change"
    activity = root.store.changes.objects[head.key]
    assert (activity.first, activity.last) == (10.0, 11.0)


def test_editors_own_files_make_nothing_dirty(root: Root) -> None:
    head = root.object()
    root.agree(head)
    node = root.file(head.ino, ".a.txt.swp", b"x")
    root.write(node, b"y")
    tree.unlink(root.store, node)
    assert not root.store.record(head.key).dirty


def test_a_rolled_back_change_leaves_nothing_behind_in_memory(root: Root) -> None:
    root.wrong_on_purpose = "what was done on the disk waits for the next start"
    head = root.object()
    made: list[int] = []

    def half_done() -> None:
        with root.store.state.transaction():
            root.store.update_object(head.key, name="Other", right=Right.READ)
            made.append(tree.make_folder(root.store, head.ino, "d", 0o755).ino)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert set(root.store.by_name) == {"Notes"}
    assert root.store.heads[head.key] == head
    assert root.store.find_node(made[0]) is None


def test_two_roots_know_nothing_of_each_other(make_root: Callable[[str], Root]) -> None:
    one, two = make_root("one"), make_root("two")
    one.object()
    assert two.store.heads == {}


def test_object_folders_are_never_used_twice(root: Root) -> None:
    first = root.object()
    trash.leave(root.store, root.store.record(first.key), "test")
    second = root.object()
    assert second.folder != first.folder
    assert (root.path / "trash" / first.folder).is_dir()


def test_a_new_folders_name_is_durable_only_with_all_those_above(root: Root) -> None:
    head = root.object()
    outer = tree.make_folder(root.store, head.ino, "d", 0o755)
    inner = tree.make_folder(root.store, outer.ino, "e", 0o755)
    top = root.path / "objects"
    chain = [top / head.folder / "d" / "e", top / head.folder / "d", top / head.folder, top]
    folders = root.store.names_to_sync(inner.ino)
    assert list(folders) == [str(path) for path in chain]
    root.store.names_synced(inner.ino, folders)
    assert root.store.names_to_sync(inner.ino) == folders[:1], "once"
    tree.rename(root.store, root.store.node(outer.ino), head.ino, "renamed")
    assert root.store.names_to_sync(inner.ino) == (f"{top}/{head.folder}/renamed/e",), "its own name is where it was"
    assert root.store.names_to_sync(outer.ino) == (f"{top}/{head.folder}/renamed", f"{top}/{head.folder}")


def test_a_folder_renamed_while_it_was_synced_is_not_durable(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    synced = root.store.names_to_sync(folder.ino)
    tree.rename(root.store, folder, head.ino, "e")
    root.store.names_synced(folder.ino, synced)
    assert len(root.store.names_to_sync(folder.ino)) == 3


def test_after_a_kill_no_folders_name_is_known_to_be_durable(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    root.store.names_synced(folder.ino, root.store.names_to_sync(folder.ino))
    root.reopen()
    assert len(root.store.names_to_sync(folder.ino)) == 3
    root.reopen(clean=True)
    assert len(root.store.names_to_sync(folder.ino)) == 1


def test_a_folder_whose_object_is_removed_while_it_is_synced(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    synced = root.store.names_to_sync(folder.ino)
    trash.remove(root.store, head, even_full=True)
    root.store.names_synced(folder.ino, synced)
    assert folder.ino in root.store.fresh


def test_no_two_threads_get_the_same_place_in_the_staging_folder(tmp_path: Path) -> None:
    files, each = Workdir(tmp_path), 20_000
    given: list[list[str]] = []

    def take() -> None:
        given.append([files.new_staging() for _ in range(each)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len({place for places in given for place in places}) == len(threads) * each


def test_a_folder_tells_of_what_changed_in_it_and_one_that_can_not_is_left_at_that(tmp_path: Path) -> None:
    files = Workdir(tmp_path)
    os.utime(tmp_path / "objects", ns=(7, 7))
    files.noticed("objects")
    assert os.stat(tmp_path / "objects").st_mtime_ns > 7
    (tmp_path / "objects" / "file").touch()
    for place in ("objects/nowhere", "objects/file/below"):
        files.noticed(place)
