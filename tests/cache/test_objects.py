"""Objects as wholes, and their sidecar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oaiofs.cache import objects, trash, tree
from oaiofs.core import sidecar
from oaiofs.core.model import Right
from oaiofs.errors import DirectoryNotEmpty, InvalidSidecar
from tests.cache.conftest import Root, remote_object


def shown(root: Root, key: int) -> object:
    record = root.store.record(key)
    node = root.store.child(record.ino, record.sidecar)
    assert node is not None
    return json.loads(Path(root.store.absolute(node)).read_text())


def save(root: Root, key: int, text: bytes) -> None:
    """Write the sidecar in place and close it."""
    record = root.store.record(key)
    node = root.store.child(record.ino, record.sidecar)
    assert node is not None
    root.write(node, text)
    objects.judge_sidecar(root.store, root.store.node(node.ino))


def test_a_new_object_shows_its_name_as_a_value(root: Root) -> None:
    rung: list[int] = []
    root.store.doorbell = rung.append
    head = root.object("Größe")
    assert shown(root, head.key) == {"_name": "Größe"}
    assert root.store.record(head.key).dirty
    assert rung == [head.key]


def test_names_with_the_oddest_letters_get_a_folder_of_their_own(root: Root) -> None:
    heads = [root.object(name) for name in ("ö" * 127, "a b", "x.y", "ö" * 126)]
    folders = {head.folder for head in heads}
    assert len(folders) == 4
    assert all((root.path / "objects" / folder).is_dir() for folder in folders)


def test_renaming_an_object_changes_its_values_and_not_its_folder(root: Root) -> None:
    head = root.object()
    root.agree(head)
    objects.rename(root.store, head, "Diary")
    assert set(root.store.by_name) == {"Diary"}
    assert shown(root, head.key) == {"_name": "Diary"}
    record = root.store.record(head.key)
    assert record.dirty
    assert (record.folder, record.ino) == (head.folder, head.ino)


def test_display_names_are_unique_and_keep_their_number(root: Root) -> None:
    first = objects.adopt(root.store, remote_object({"_name": "Notes"}, {}, "20260101000000000000"))
    second = root.object("Other")
    root.store.update_object(second.key, base_stamp="20260101000000000000")
    save(root, second.key, b'{"_name": "Notes"}')
    assert root.store.heads[second.key].name == "Notes ~2"
    save(root, second.key, b'{"_name": "Notes", "k": 1}')
    assert root.store.heads[second.key].name == "Notes ~2"
    trash.leave(root.store, root.store.record(first.key), "test")
    save(root, second.key, b'{"_name": "Notes", "k": 2}')
    assert root.store.by_name.keys() == {"Notes ~2"}, "stable until somebody changes the name"
    root.reopen(clean=True)
    assert root.store.by_name.keys() == {"Notes ~2"}


def test_a_new_object_filled_with_a_copy_of_another_keeps_its_name(root: Root) -> None:
    root.wrong_on_purpose = "the other object is adopted without its version"
    objects.adopt(root.store, remote_object({"_name": "Notes"}, {}, "20260101000000000000"))
    copied = root.object("Copy")
    save(root, copied.key, b'{"_name": "Notes", "k": 1}')
    assert root.store.heads[copied.key].name == "Copy"
    assert root.store.record(copied.key).values == {"_name": "Copy", "k": 1}


def test_only_an_empty_object_is_removed(root: Root) -> None:
    head = root.object()
    root.agree(head)
    node = root.file(head.ino, "a.txt~", b"x")
    with pytest.raises(DirectoryNotEmpty):
        trash.remove(root.store, head)
    tree.unlink(root.store, node)
    trash.remove(root.store, head)
    record = root.store.record(head.key)
    assert record.removed
    assert record.dirty
    assert root.store.heads == {}
    note = json.loads((root.path / "trash" / f"{head.folder}.json").read_text())
    assert (note["name"], note["oaio_id"], note["values"]) == ("Notes", "oaio Notes", {"_name": "Notes"})
    assert not (root.path / "objects" / head.folder).exists()
    assert root.object().name == "Notes", "the name is free"


def test_what_one_may_not_change_can_be_left_as_it_is(root: Root) -> None:
    head = root.object()
    root.file(head.ino, "a.txt", b"x")
    root.agree(head)
    root.store.update_object(head.key, right=Right.READ)
    trash.remove(root.store, root.store.heads[head.key], even_full=True)
    assert (root.path / "trash" / head.folder / "a.txt").read_bytes() == b"x"


# ---------------------------------------------------------------------------------------- the sidecar


def test_what_is_saved_is_the_values(root: Root) -> None:
    head = root.object()
    root.agree(head)
    save(root, head.key, b'{"_name": "Notes", "z": 1.0, "a": [1, 1267650600228229401496703205376]}')
    record = root.store.record(head.key)
    assert list(record.values.items()) == [("_name", "Notes"), ("z", 1.0), ("a", [1, 2**100])]
    assert record.dirty


def test_a_save_of_the_same_values_changes_nothing(root: Root) -> None:
    head = root.object()
    root.agree(head)
    save(root, head.key, b'{ "_name" : "Notes" }')
    assert not root.store.record(head.key).dirty


def test_no_values_are_a_draft_and_the_values_stay(root: Root) -> None:
    head = root.object()
    root.agree(head)
    with pytest.raises(InvalidSidecar):
        save(root, head.key, b'{"_name": "Notes",\n "k": }')
    record = root.store.record(head.key)
    assert record.draft is not None
    assert (record.draft["line"], record.draft["column"]) == (2, 7)
    assert record.values == {"_name": "Notes"}
    assert not record.dirty
    assert not objects.refresh_sidecar(root.store, head.key), "the draft is its author's"
    save(root, head.key, b'{"_name": "Notes", "k": 1}')
    assert root.store.record(head.key).draft is None
    assert root.store.record(head.key).values == {"_name": "Notes", "k": 1}


def test_a_sidecar_too_large_is_no_values(root: Root) -> None:
    head = root.object()
    with pytest.raises(InvalidSidecar, match="larger than"):
        save(root, head.key, b" " * (sidecar.MAX_BYTES + 1))


def test_values_that_came_in_while_the_editor_was_at_it_are_merged(root: Root) -> None:
    head = root.object()
    root.agree(head)
    root.store.update_object(head.key, values={"_name": "Notes", "theirs": 1})  # shown_values are still the old ones
    save(root, head.key, b'{"_name": "Notes", "mine": 2}')
    assert root.store.record(head.key).values == {"_name": "Notes", "theirs": 1, "mine": 2}


def test_a_refresh_gives_the_sidecar_a_new_inode(root: Root) -> None:
    root.wrong_on_purpose = "values are set without a word about a change"
    head = root.object()
    root.agree(head)
    old = root.store.child(head.ino, "values.json")
    assert old is not None
    assert not objects.refresh_sidecar(root.store, head.key), "nothing new to show"
    root.store.update_object(head.key, values={"_name": "Notes", "k": 1})
    assert objects.refresh_sidecar(root.store, head.key)
    new = root.store.child(head.ino, "values.json")
    assert new is not None
    assert new.ino != old.ino
    assert shown(root, head.key) == {"_name": "Notes", "k": 1}


def test_a_refresh_waits_for_who_has_the_sidecar_open_for_writing(root: Root) -> None:
    head = root.object()
    node = root.store.child(head.ino, "values.json")
    assert node is not None
    root.store.update_object(head.key, values={"_name": "Notes", "k": 1})
    root.store.writers[node.ino] += 1
    assert not objects.refresh_sidecar(root.store, head.key)
    root.store.writers[node.ino] -= 1
    assert objects.refresh_sidecar(root.store, head.key)


def test_a_deleted_sidecar_is_back_after_its_editors_grace_time(root: Root) -> None:
    head = root.object()
    root.agree(head)
    node = root.store.child(head.ino, "values.json")
    assert node is not None
    tree.unlink(root.store, node)
    root.steady = objects.SIDECAR_GRACE - 0.1
    assert objects.restore_sidecar(root.store, head) is None
    assert not objects.refresh_sidecar(root.store, head.key)
    root.steady = objects.SIDECAR_GRACE
    assert objects.restore_sidecar(root.store, head) is not None
    assert shown(root, head.key) == {"_name": "Notes"}
    assert not root.store.record(head.key).dirty


def test_the_time_of_a_sidecar_is_its_versions(root: Root) -> None:
    head = root.object()
    root.agree(head, stamp="20260102030405000000")
    node = objects.write_sidecar(root.store, head.key)
    assert node.mtime_ns == 1_767_323_045_000_000_000
    assert Path(root.store.absolute(node)).stat().st_mtime_ns == node.mtime_ns


# ---------------------------------------------------------------------------------------- intents


def test_an_intent_is_for_one_inode_only(root: Root) -> None:
    root.wrong_on_purpose = "a file is moved without its node"
    head = root.object()
    node = root.file(head.ino, "a.txt", b"x")
    place = root.store.work_path(node)
    inode = root.store.files.inode(place)
    assert inode is not None
    objects.move_later(root.store, place, "", inode + 1)
    objects.run_intents(root.store)
    assert root.content(head, "a.txt") == b"x", "something newer stands there"
    objects.move_later(root.store, place, "trash/x", inode)
    objects.run_intents(root.store)
    assert (root.path / "trash" / "x").read_bytes() == b"x"
    objects.run_intents(root.store)
