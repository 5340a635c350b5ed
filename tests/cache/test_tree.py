"""What users do below an object: on the disk, in the rows, and what of it the servers are to learn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oaiofs.cache import objects, records, tree
from oaiofs.cache.records import Kind, Node
from oaiofs.cache.store import Head
from oaiofs.core.model import Stamp
from oaiofs.errors import DirectoryNotEmpty, Exists, IsADirectory, NotADirectory
from tests.cache.conftest import Root, fact


def seq(root: Root, head: Head) -> int:
    return root.store.record(head.key).local_seq


def placeholder(root: Root, head: Head, name: str, data: bytes) -> Node:
    """A file of the agreed version that is not downloaded."""
    told = fact(data)
    node = Node(
        root.store.new_ino(), head.key, head.ino, name, Kind.FILE, 0o644, False, False, told.size, told.md5,
        told.mtime_ns,
    )  # fmt: skip
    root.store.add_node(node)
    records.set_base_files(root.store.db, head.key, {**root.store.base_files(head.key), name: told})
    return node


def test_create_write_rename_unlink(root: Root) -> None:
    head = root.object()
    before = seq(root, head)
    node = root.file(head.ino, "a.txt", b"hello")
    assert seq(root, head) > before
    tree.rename(root.store, node, head.ino, "b.txt")
    assert root.content(head, "b.txt") == b"hello"
    assert root.store.child(head.ino, "b.txt").ino == node.ino  # type: ignore[union-attr]
    before = seq(root, head)
    tree.unlink(root.store, root.store.node(node.ino))
    assert root.on_disk(head) == set()
    assert seq(root, head) > before


def test_names_in_use_are_refused(root: Root) -> None:
    head = root.object()
    root.file(head.ino, "a")
    for make in (tree.create_file, tree.make_folder):
        with pytest.raises(Exists):
            make(root.store, head.ino, "a", 0o644)
    with pytest.raises(Exists):
        tree.make_link(root.store, head.ino, "a", "x")
    assert root.content(head, "a") == b""


def test_rename_follows_rename_2(root: Root) -> None:
    head = root.object()
    file = root.file(head.ino, "file", b"f")
    full = tree.make_folder(root.store, head.ino, "full", 0o755)
    inside = root.file(full.ino, "inside", b"i")
    empty = tree.make_folder(root.store, head.ino, "empty", 0o755)
    with pytest.raises(IsADirectory):
        tree.rename(root.store, file, head.ino, "full")
    with pytest.raises(NotADirectory):
        tree.rename(root.store, full, head.ino, "file")
    with pytest.raises(DirectoryNotEmpty):
        tree.rename(root.store, empty, head.ino, "full")
    tree.rename(root.store, full, head.ino, "empty")
    assert root.on_disk(head) == {"file", "empty", "empty/inside"}
    assert root.store.path_in_object(root.store.node(inside.ino)) == "empty/inside"
    tree.rename(root.store, file, full.ino, "inside")
    assert root.on_disk(head) == {"empty", "empty/inside"}
    assert root.content(head, "empty/inside") == b"f"
    assert root.store.find_node(inside.ino) is None


def test_removing_folders(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    file = root.file(folder.ino, "f")
    with pytest.raises(DirectoryNotEmpty):
        tree.remove_folder(root.store, root.store.node(folder.ino))
    with pytest.raises(NotADirectory):
        tree.remove_folder(root.store, file)
    with pytest.raises(IsADirectory):
        tree.unlink(root.store, folder)
    tree.unlink(root.store, file)
    tree.remove_folder(root.store, root.store.node(folder.ino))
    assert root.on_disk(head) == set()


def test_empty_folders_are_no_business_of_the_servers(root: Root) -> None:
    head = root.object()
    root.agree(head)
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    tree.rename(root.store, folder, head.ino, "e")
    tree.remove_folder(root.store, root.store.node(folder.ino))
    assert not root.store.record(head.key).dirty


def test_a_folder_of_files_renamed_is(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    root.file(folder.ino, "f", b"x")
    root.agree(head)
    tree.rename(root.store, root.store.node(folder.ino), head.ino, "e")
    assert root.store.record(head.key).dirty
    assert set(root.store.attached(head.key)) == {"e/f"}
    assert root.store.attached(head.key)["e/f"].md5 == fact(b"x").md5, "its content is still known"


def test_the_rows_know_before_a_byte_changes(root: Root) -> None:
    head = root.object()
    node = root.file(head.ino, "a.txt", b"x")
    root.agree(head)
    assert not root.store.node(node.ino).dirty
    writes = root.store.writes[node.ino]
    tree.mark_written(root.store, root.store.node(node.ino))
    assert root.store.node(node.ino).dirty
    assert root.store.record(head.key).dirty
    assert root.store.writes[node.ino] == writes + 1
    before = seq(root, head)
    tree.mark_written(root.store, root.store.node(node.ino))
    assert seq(root, head) == before, "noted once until the next snapshot"
    assert root.store.writes[node.ino] == writes + 2


def test_a_renamed_placeholder_remembers_where_its_bytes_are(root: Root) -> None:
    head = root.object()
    root.agree(head)
    node = placeholder(root, head, "a.txt", b"hello")
    record = root.store.record(head.key)
    where = f"Digi/{record.oaio_id}/{record.base_stamp}/a.txt"
    assert tree.origin(root.store, node) == where
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    tree.rename(root.store, node, folder.ino, "b.txt")
    assert tree.origin(root.store, root.store.node(node.ino)) == where
    tree.rename(root.store, root.store.node(folder.ino), head.ino, "e")
    assert tree.origin(root.store, root.store.node(node.ino)) == where
    assert set(root.store.attached(head.key)) == {"e/b.txt"}


def test_a_placeholder_takes_the_name_of_a_local_file(root: Root) -> None:
    head = root.object()
    root.agree(head)
    node = placeholder(root, head, "far", b"far away")
    root.file(head.ino, "near", b"near")
    tree.rename(root.store, node, head.ino, "near")
    assert root.on_disk(head) == set()
    assert not root.store.child(head.ino, "near").local  # type: ignore[union-attr]
    assert records.intents(root.store.db) == []


def test_a_file_moved_to_another_object_changes_both(root: Root) -> None:
    one, two = root.object("One"), root.object("Two")
    folder = tree.make_folder(root.store, one.ino, "d", 0o755)
    root.file(folder.ino, "f", b"x")
    root.agree(one)
    root.store.update_object(two.key, settled_seq=seq(root, two))
    tree.rename(root.store, root.store.node(folder.ino), two.ino, "d")
    assert root.store.record(one.key).dirty
    assert root.store.record(two.key).dirty
    assert set(root.store.attached(two.key)) == {"d/f"}
    assert not root.store.attached(one.key)
    assert root.content(two, "d/f") == b"x"


def test_a_rename_that_the_disk_refuses_changes_nothing(root: Root) -> None:
    root.wrong_on_purpose = "the file was taken away"
    head = root.object()
    node = root.file(head.ino, "a", b"x")
    root.agree(head)
    os.unlink(root.store.absolute(node))  # behind our back
    with pytest.raises(FileNotFoundError):
        tree.rename(root.store, root.store.node(node.ino), head.ino, "b")
    assert root.store.path_in_object(root.store.node(node.ino)) == "a"
    assert not root.store.record(head.key).dirty


@pytest.mark.parametrize("name", ["copy.txt", "values.json~"])
def test_a_sidecar_under_another_name_is_a_file_like_others(root: Root, name: str) -> None:
    head = root.object()
    node = root.store.child(head.ino, "values.json")
    assert node is not None
    root.write(node, b'{"_name": "Notes", "k": 1}')
    objects.judge_sidecar(root.store, node)
    tree.rename(root.store, root.store.node(node.ino), head.ino, name)
    assert root.store.node(node.ino).dirty, "its bytes are still to be learnt"


def test_links_are_links(root: Root) -> None:
    head = root.object()
    node = tree.make_link(root.store, head.ino, ".#a.txt", "me@host.1")
    assert os.readlink(root.store.absolute(node)) == "me@host.1"
    tree.unlink(root.store, node)
    assert root.on_disk(head) == set()


def test_modes_are_kept_and_never_lock_us_out(root: Root) -> None:
    head = root.object()
    node, descriptor = tree.create_file(root.store, head.ino, "run.sh", 0o555)
    os.close(descriptor)
    assert root.store.node(node.ino).mode == 0o555
    assert Path(root.store.absolute(node)).stat().st_mode & 0o600 == 0o600


def test_where_a_placeholder_has_its_bytes_is_found_without_reading_the_whole_version(root: Root) -> None:
    """It is asked for each file of ``rm -r`` and of a renamed folder, which may be all of many."""
    head = root.object()
    far = placeholder(root, head, "far.txt", b"far")
    root.store.update_object(head.key, oaio_id="id", base_stamp=Stamp("20260101000000000000"))
    root.store.update_node(far.ino, origin="Digi/id/20250101000000000000/old.txt")
    root.store.db.execute("UPDATE object SET prior = 'a version of many files: not to be parsed'")

    def steps() -> int:
        counted: list[None] = []
        root.store.db.set_progress_handler(lambda: counted.append(None), 1)
        assert tree.origin(root.store, root.store.node(far.ino)) == "Digi/id/20260101000000000000/far.txt"
        root.store.db.set_progress_handler(None, 0)
        return len(counted)

    few = steps()
    more = {f"{number}.txt": fact(b"%d" % number) for number in range(1000)}
    records.set_base_files(root.store.db, head.key, {**root.store.base_files(head.key), **more})
    assert steps() < few + 100
    root.store.db.execute("UPDATE object SET prior = NULL")
