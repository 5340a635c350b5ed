"""Entries of the trash that somebody has changed or damaged, and what goes for good."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import objects, records, trash
from oaiofs.cache.store import Head
from oaiofs.core.model import Right
from oaiofs.errors import NotFound, StateError
from tests.cache.conftest import Root, fact, remote_object
from tests.cache.trashing import BOTH, LATER, come_back, contents, dropping, entries, leaving, rm_r

# ---------------------------------------------------------------------------------------- hostile and damaged


def note_of(root: Root, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root.path / "trash" / f"{key}.json").read_text())
    return found


def change_note(root: Root, key: str, **changes: object) -> None:
    (root.path / "trash" / f"{key}.json").write_text(json.dumps({**note_of(root, key), **changes}))


def test_hostile_paths_of_a_note_are_not_followed(root: Root, head: Head, tmp_path: Path) -> None:
    leaving(root, head)
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"of somebody else")
    origin = "Digi/id/20260101000000000000/x"
    change_note(
        root, head.folder, name="../../x", sidecar="../a.txt", oaio_id=7, csh_id=[],
        files={"../../outside.txt": [1, "", 0, origin], "/etc/x": [1, "", 0, origin], "ok": [1, "", 0, origin]},
    )  # fmt: skip
    (entry,) = entries(root)
    assert len(entry.note.problems) == 4
    restored = come_back(root, entry)
    assert "/" not in restored.object
    assert contents(root, restored.object) == {**BOTH, "ok": None}
    assert outside.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"what": 3}', "x" * 100])
def test_without_a_note_that_can_be_read_the_files_and_the_sidecar_come_back(
    root: Root, head: Head, text: str
) -> None:
    root.store.update_object(head.key, values={"_name": "Notes", "k": 5})
    objects.refresh_sidecar(root.store, head.key)
    leaving(root, head)
    (root.path / "trash" / f"{head.folder}.json").write_text(text)
    (entry,) = entries(root)
    assert entry.note.problems
    assert trash.due(root.store, [entry], 1e12, 30) == [], "who knows when it was removed"
    assert come_back(root, entry).anew
    assert contents(root, "Notes") == BOTH
    assert root.store.record(root.store.by_name["Notes"].key).values == {"_name": "Notes", "k": 5}
    assert entries(root) == []


def test_a_missing_note(root: Root, head: Head) -> None:
    leaving(root, head)
    (root.path / "trash" / f"{head.folder}.json").unlink()
    (entry,) = entries(root)
    assert entry.note.problems == ("it has no note",)
    come_back(root, entry)
    assert contents(root, "Notes") == BOTH


def test_links_and_pipes_in_the_trash_are_not_followed(root: Root, head: Head, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    leaving(root, head)
    folder = root.path / "trash"
    (folder / "link.9").symlink_to(outside)
    (folder / "link.9.json").symlink_to(folder / f"{head.folder}.json")
    os.mkfifo(folder / "pipe.8.json")
    (folder / head.folder / "out").symlink_to(outside)
    found = {entry.key: entry for entry in entries(root)}
    assert set(found) == {"link.9", "pipe.8", head.folder}
    assert found["link.9"].folder is None
    assert found["link.9"].note.problems
    assert found["pipe.8"].note.problems == ("its note can't be read: it is no file",)
    assert found[head.folder].files == 3
    for key in found:
        trash.delete(root.store.files.root, key)
    assert os.listdir(folder) == []
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_restored_link_is_an_editors_lock_as_before(root: Root, head: Head, tmp_path: Path) -> None:
    leaving(root, head)
    (root.path / "trash" / head.folder / "out").symlink_to(tmp_path)
    (entry,) = entries(root)
    come_back(root, entry)
    made = root.store.by_name["Notes"]
    kinds = {path: node.kind for path, node in root.store.walk(made.key)}
    assert kinds["out"] is records.Kind.LINK
    assert set(root.store.attached(made.key)) == set(BOTH)


def test_an_entry_that_went_meanwhile_is_told(root: Root, head: Head) -> None:
    leaving(root, head)
    (entry,) = entries(root)
    come_back(root, entry)
    with pytest.raises(NotFound, match="not in the trash any more"):
        come_back(root, entry)
    assert set(root.store.by_name) == {"Notes"}


def test_what_stands_in_the_way_is_left_and_told(root: Root, head: Head) -> None:
    rm_r(root, head)
    (root.path / "objects" / head.folder).mkdir()
    stranger = root.path / "objects" / head.folder / "stranger"
    stranger.write_bytes(b"?")
    (entry,) = entries(root)
    with pytest.raises(StateError, match="in the way"):
        come_back(root, entry)
    assert stranger.read_bytes() == b"?"
    stranger.unlink()
    come_back(root, entry)
    assert contents(root, "Notes") == BOTH


def test_files_deleted_from_the_trash_by_hand_are_placeholders(root: Root, head: Head) -> None:
    root.store.update_object(head.key, right=Right.READ)
    trash.remove(root.store, root.store.heads[head.key], even_full=True)
    (root.path / "trash" / head.folder / "a.txt").unlink()
    (entry,) = entries(root)
    come_back(root, entry)
    assert contents(root, "Notes") == {"a.txt": None, "d/b.txt": b"second"}


# ---------------------------------------------------------------------------------------- purging and emptying


def test_the_trash_is_purged_by_its_notes_and_never_by_times_of_files(root: Root, head: Head) -> None:
    leaving(root, head)
    for place in (root.path / "trash").rglob("*"):
        os.utime(place, (0, 0))
    found = entries(root)
    day = 86_400.0
    assert trash.due(root.store, found, root.wall + 29.9 * day, 30) == []
    assert trash.due(root.store, found, root.wall + 30.1 * day, 30) == found
    assert trash.due(root.store, found, root.wall + 30.1 * day, 0) == []


def test_what_the_server_does_not_know_of_is_not_purged(root: Root, head: Head) -> None:
    rm_r(root, head)
    found = entries(root)
    assert trash.due(root.store, found, root.wall + 1e9, 30) == []
    assert trash.unmeant(root.store) == {head.key}
    trash.delete(root.store.files.root, head.folder)
    assert trash.unmeant(root.store) == set(), "who empties the trash means it"


def test_versions_with_one_stamp_do_not_share_an_entry(root: Root, head: Head) -> None:
    dropping(root, head)
    root.file(head.ino, "a.txt", b"other")
    root.agree(head, "20260101000000000000")
    dropping(root, head)
    first, second = entries(root)
    assert (first.files, second.files) == (1, 1)
    assert second.key == f"{first.key} ~2"


def test_a_placeholder_that_is_removed_elsewhere_can_be_restored(root: Root, head: Head) -> None:
    files = {**root.store.base_files(head.key), "far": fact(b"far")}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    del files["far"]
    root.pull(head, remote_object({"_name": "Notes"}, files, "20260203000000000000"), files)
    (entry,) = entries(root)
    assert (entry.folder, entry.files) == (None, 0)
    assert come_back(root, entry).paths == ("far",)
    node = root.store.attached(head.key)["far"]
    assert (node.local, node.origin) == (False, f"Digi/oaio Notes/{LATER}/far")
    assert root.store.record(head.key).dirty


def test_how_long_things_are_kept_is_known_without_a_mount(root: Root) -> None:
    assert trash.days(root.store) == 30
    root.store.state.set_meta("trash_days", "0.0")
    assert trash.days(root.store) == 0
