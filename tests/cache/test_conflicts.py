"""Conflicts of one client root: what is found, what ends them, and how a user ends them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import conflicts, objects, records, resolve, trash, tree
from oaiofs.cache.conflicts import FileConflict, ValueConflict
from oaiofs.cache.resolve import Keep
from oaiofs.cache.store import Head
from oaiofs.core import names
from oaiofs.core.merge import MISSING
from oaiofs.core.merge import ValueConflict as Lost
from oaiofs.core.model import Right
from oaiofs.errors import AccessDenied, UsageError
from tests.cache.conftest import Root, fact, remote_object

S1, S2 = "20260201000000000001", "20260201000000000002"
COPY = f"a (conflict two {S1}).txt"


def agreed(root: Root, **contents: bytes) -> Head:
    """An object whose files, named without extension here, both sides have."""
    head = root.object()
    for name, data in contents.items():
        root.file(head.ino, name + ".txt", data)
    root.agree(head)
    return head


def with_copy(root: Root, name: str = COPY) -> Head:
    """An object with a file and a conflict copy of it, both on the servers."""
    head = root.object()
    root.file(head.ino, "a.txt", b"theirs")
    root.file(head.ino, name, b"mine")
    root.agree(head)
    return head


def files_of(root: Root, head: Head) -> dict[str, bytes]:
    return {path: root.content(head, path) for path in root.store.attached(head.key)}


def in_trash(root: Root) -> list[bytes]:
    return [path.read_bytes() for path in (root.path / "trash").glob("*/**/*") if path.is_file()]


def only(root: Root) -> Any:
    (found,) = conflicts.found(root.store)
    return found


def end(root: Root, keep: Keep) -> resolve.Names:
    found = only(root)
    resolve.check(root.store, found, keep)
    return resolve.resolve(root.store, found, keep)


def save(root: Root, key: int, values: dict[str, Any]) -> None:
    """Save the sidecar as an editor does."""
    record = root.store.record(key)
    node = root.store.child(record.ino, record.sidecar)
    assert node is not None
    root.write(node, json.dumps(values).encode())
    objects.judge_sidecar(root.store, root.store.node(node.ino))


# ------------------------------------------------------------------------------------------------ what is found


def test_a_conflict_of_a_file_is_what_its_copys_name_says(root: Root) -> None:
    head = with_copy(root)
    found = only(root)
    assert isinstance(found, FileConflict)
    assert (found.object, found.path, found.copy_path, found.copy.device) == (head.key, "a.txt", COPY, "two")
    assert found.base is None
    assert conflicts.count(root.store) == {head.key: 1} == conflicts.count(root.store, head.key)
    assert records.conflicts(root.store.db) == [], "nothing was noted here"


def test_it_is_found_in_folders_and_after_every_rename_around_it(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "deep", 0o755)
    root.file(folder.ino, COPY, b"x")
    assert only(root).path == "deep/a.txt"
    tree.rename(root.store, folder, head.ino, "deeper")
    assert (only(root).path, only(root).copy_path) == ("deeper/a.txt", f"deeper/{COPY}")
    other = root.object("Other")
    tree.rename(root.store, root.store.child(folder.ino, COPY), other.ino, COPY)  # type: ignore[arg-type]
    assert conflicts.count(root.store) == {other.key: 1}
    objects.rename(root.store, root.store.heads[other.key], "Another")
    assert only(root).object == other.key
    root.reopen()
    assert only(root).object == other.key


def test_its_id_stays_the_same_and_tells_it_from_others(root: Root) -> None:
    head = with_copy(root)
    first = only(root).id
    root.file(head.ino, f"b (conflict two {S1}).txt", b"x")
    both = [one.id for one in conflicts.found(root.store)]
    assert both[0] == first
    assert len(set(both)) == 2
    root.reopen()
    assert [one.id for one in conflicts.found(root.store)] == both


def test_what_only_looks_like_a_copy_or_never_leaves_this_machine_is_none(root: Root) -> None:
    head = root.object()
    for name in ("a (conflict two 42).txt", f"{COPY}~", f".~lock.{COPY}#", f"(conflict two {S1})"):
        root.file(head.ino, name, b"x")
    tree.make_link(root.store, head.ino, f".#{COPY}", "me@here")
    tree.make_folder(root.store, head.ino, f"empty (conflict two {S1})", 0o755)
    assert conflicts.found(root.store) == []
    assert conflicts.count(root.store) == {}


def test_a_removed_objects_conflicts_are_nobodys(root: Root) -> None:
    head = with_copy(root)
    trash.remove(root.store, head, even_full=True)
    assert conflicts.found(root.store) == []
    assert conflicts.count(root.store) == {}


def test_a_folder_that_had_to_leave_its_name_is_one_conflict(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, "d", 0o755)
    for name in ("x", "y"):
        root.file(folder.ino, name, b"old")
    root.agree(head)
    for name in ("x", "y"):
        root.write(root.store.child(folder.ino, name), b"mine")  # type: ignore[arg-type]
    files = {"d": fact(b"a file")}
    root.pull(head, remote_object({"_name": "Notes"}, files, S1), files)
    found = only(root)
    assert (found.path, found.copy_path) == ("d", f"d (conflict one {S1})")
    with pytest.raises(UsageError, match="is a file by now"):
        end(root, Keep.MINE)
    end(root, Keep.BOTH)
    assert set(root.store.attached(head.key)) == {"d", "d (one)/x", "d (one)/y"}
    assert root.content(head, "d (one)/x") == b"mine"
    assert conflicts.found(root.store) == []


def test_removing_a_folders_copy_keeps_what_only_this_machine_has(root: Root) -> None:
    head = root.object()
    folder = tree.make_folder(root.store, head.ino, f"d (conflict two {S1})", 0o755)
    below = tree.make_folder(root.store, folder.ino, "below", 0o755)
    root.file(folder.ino, "x", b"sent")
    root.file(below.ino, "y", b"sent too")
    root.agree(head)
    root.file(below.ino, "z", b"not sent")
    changed = end(root, Keep.THEIRS)
    assert root.on_disk(head) == set()
    assert in_trash(root) == [b"not sent"]
    assert (head.ino, folder.name) in changed
    assert (below.ino, "z") in changed


def test_where_both_come_from_is_noted_with_the_copy_until_it_is_gone(root: Root) -> None:
    head = agreed(root, a=b"old")
    root.write(root.store.child(head.ino, "a.txt"), b"mine")  # type: ignore[arg-type]
    files = {"a.txt": fact(b"theirs")}
    root.pull(head, remote_object({"_name": "Notes"}, files, S1), files)
    found = only(root)
    assert found.base == conflicts.Base("Digi/oaio Notes/20260101000000000000/a.txt", 3, fact(b"old").md5)
    assert found.copy_path == names.conflict_name("a.txt", "one", S1, ())
    tree.rename(root.store, root.store.child(head.ino, found.copy_path), head.ino, "mine.txt")  # type: ignore[arg-type]
    assert conflicts.found(root.store) == []
    tree.rename(root.store, root.store.child(head.ino, "mine.txt"), head.ino, found.copy_path)  # type: ignore[arg-type]
    assert only(root).base == found.base, "undone"
    root.agree(head, S1)
    root.pull(head, remote_object({"_name": "Notes"}, files, S2), files)
    assert conflicts.found(root.store) == []
    assert records.conflicts(root.store.db) == [], "gone by a remote version: nothing is kept of it"


def test_the_name_that_was_cut_is_known_where_the_copy_was_made_and_guessed_elsewhere(root: Root) -> None:
    long = "a" * 240 + ".txt"
    head = root.object()
    root.file(head.ino, long, b"theirs")
    root.file(head.ino, names.conflict_name(long, "two", S1, ()), b"mine")
    assert only(root).path == long


# ----------------------------------------------------------------------------------------------------- of files


def test_mine_takes_the_name_as_a_rename_over_does(root: Root) -> None:
    head = with_copy(root)
    ino = root.store.child(head.ino, COPY).ino  # type: ignore[union-attr]
    changed = end(root, Keep.MINE)
    assert files_of(root, head) == {"a.txt": b"mine"}
    assert root.store.child(head.ino, "a.txt").ino == ino  # type: ignore[union-attr]
    assert changed == {(head.ino, COPY), (head.ino, "a.txt")}
    assert conflicts.found(root.store) == []
    assert root.store.record(head.key).dirty, "the other devices are to learn of it"
    assert in_trash(root) == [], "the replaced version is on the storage host"


def test_theirs_removes_the_copy(root: Root) -> None:
    head = with_copy(root)
    assert end(root, Keep.THEIRS) == {(head.ino, COPY)}
    assert files_of(root, head) == {"a.txt": b"theirs"}
    assert root.store.record(head.key).dirty
    assert in_trash(root) == []


def test_both_gives_the_copy_a_name_of_its_own(root: Root) -> None:
    head = with_copy(root)
    root.file(head.ino, "a (two).txt", b"somebody's")
    assert end(root, Keep.BOTH) == {(head.ino, COPY), (head.ino, "a (two) ~2.txt")}
    assert files_of(root, head) == {"a.txt": b"theirs", "a (two).txt": b"somebody's", "a (two) ~2.txt": b"mine"}
    assert conflicts.found(root.store) == []


@pytest.mark.parametrize("keep", Keep)
def test_what_was_never_sent_goes_to_the_trash_at_worst(root: Root, keep: Keep) -> None:
    head = with_copy(root)
    root.write(root.store.child(head.ino, "a.txt"), b"theirs, edited here")  # type: ignore[arg-type]
    root.write(root.store.child(head.ino, COPY), b"mine, edited here")  # type: ignore[arg-type]
    end(root, keep)
    kept = [*files_of(root, head).values(), *in_trash(root)]
    assert sorted(kept) == [b"mine, edited here", b"theirs, edited here"]


def test_a_program_that_has_the_replaced_file_open_goes_on_with_it(root: Root) -> None:
    head = with_copy(root)
    node = root.store.child(head.ino, "a.txt")
    assert node is not None
    root.write(node, b"not sent")
    descriptor = os.open(root.store.absolute(node), os.O_WRONLY)
    end(root, Keep.MINE)
    os.write(descriptor, b"NOT SENT")
    os.close(descriptor)
    assert root.content(head, "a.txt") == b"mine"
    assert in_trash(root) == [b"NOT SENT"]


@pytest.mark.parametrize("keep", [Keep.MINE, Keep.THEIRS])
def test_without_hard_links_the_only_copy_is_copied(root: Root, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(f"no link from {source} to {target}")

    head = with_copy(root)
    root.write(root.store.child(head.ino, "a.txt"), b"of a")  # type: ignore[arg-type]
    root.write(root.store.child(head.ino, COPY), b"of the copy")  # type: ignore[arg-type]
    monkeypatch.setattr(os, "link", refuse)
    end(root, keep)
    assert in_trash(root) == [b"of a" if keep is Keep.MINE else b"of the copy"]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep.MINE, {"a.txt": COPY}),
        (Keep.THEIRS, {"a.txt": "a.txt"}),
        (Keep.BOTH, {"a.txt": "a.txt", "a (two).txt": COPY}),
    ],
)
def test_placeholders_are_renamed_and_removed_without_a_download(root: Root, keep: Keep, left: dict[str, str]) -> None:
    head = agreed(root)
    files = {"a.txt": fact(b"theirs"), COPY: fact(b"mine")}
    root.pull(head, remote_object({"_name": "Notes"}, files, S1), files)
    end(root, keep)
    attached = root.store.attached(head.key)
    assert not any(node.local for node in attached.values())
    origins = {path: tree.origin(root.store, node) for path, node in attached.items()}
    assert origins == {path: f"Digi/oaio Notes/{S1}/{stored}" for path, stored in left.items()}
    assert in_trash(root) == []


def test_a_lost_name_that_is_gone_is_given_back_to_the_copy(root: Root) -> None:
    head = with_copy(root)
    tree.unlink(root.store, root.store.child(head.ino, "a.txt"))  # type: ignore[arg-type]
    assert only(root).path == "a.txt"
    end(root, Keep.MINE)
    assert files_of(root, head) == {"a.txt": b"mine"}


def test_a_name_that_is_a_folder_now_is_not_replaced(root: Root) -> None:
    head = root.object()
    root.file(head.ino, COPY, b"mine")
    root.file(tree.make_folder(root.store, head.ino, "a.txt", 0o755).ino, "inside", b"x")
    with pytest.raises(UsageError, match=r"a\.txt is a folder by now"):
        end(root, Keep.MINE)
    end(root, Keep.BOTH)
    assert files_of(root, head) == {"a.txt/inside": b"x", "a (two).txt": b"mine"}


def test_the_sidecar_is_not_replaced_by_the_copy_of_a_file_that_had_its_name(root: Root) -> None:
    head = root.object()
    root.file(head.ino, f"values (conflict two {S1}).json", b'{"_name": "no values"}')
    with pytest.raises(UsageError, match="shows the object's values by now"):
        end(root, Keep.MINE)
    end(root, Keep.BOTH)
    assert files_of(root, head) == {"values (two).json": b'{"_name": "no values"}'}


def test_who_may_only_read_ends_nothing(root: Root) -> None:
    head = with_copy(root)
    root.store.update_object(head.key, right=Right.READ)
    for keep in Keep:
        with pytest.raises(AccessDenied):
            end(root, keep)
    assert files_of(root, head) == {"a.txt": b"theirs", COPY: b"mine"}


# ---------------------------------------------------------------------------------------------------- of values

BASE_VALUES: dict[str, Any] = {"_name": "Notes", "k": "base", "two": {"x": 1, "y": 1}}


def lose(root: Root, head: Head, mine: dict[str, Any], theirs: dict[str, Any], stamp: str = S1) -> None:
    """Have *mine* set here and *theirs* come in."""
    record = root.store.record(head.key)
    root.store.update_object(head.key, values={**record.values, **mine})
    root.store.touch(head.key)
    root.pull(head, remote_object({**record.base_values, **theirs}, {}, stamp), {})


@pytest.fixture
def head(root: Root) -> Head:
    made = root.object()
    root.store.update_object(made.key, values=BASE_VALUES)
    objects.write_sidecar(root.store, made.key)
    root.agree(made)
    return made


def sides(root: Root) -> list[tuple[Any, Any, Any]]:
    return [(one.base, one.mine, one.theirs) for one in conflicts.found(root.store) if isinstance(one, ValueConflict)]


def values(root: Root, head: Head) -> dict[str, Any]:
    record = root.store.record(head.key)
    assert json.loads(root.content(head, "values.json")) == record.values, "the sidecar shows them"
    return dict(record.values)


def test_a_losing_value_is_found_with_its_base_at_its_nested_place(root: Root, head: Head) -> None:
    lose(root, head, {"two": {"x": 2, "y": 1}, "new": "mine"}, {"two": {"x": 3, "y": 1}, "new": "theirs"})
    found = conflicts.found(root.store)
    assert [(one.keys, one.base, one.mine, one.theirs) for one in found if isinstance(one, ValueConflict)] == [
        (("new",), MISSING, "mine", "theirs"),
        (("two", "x"), 1, 2, 3),
    ]
    assert conflicts.count(root.store) == {head.key: 2}


@pytest.mark.parametrize("mine", [2, 2.0, True, None, "", "ü\n", [1, [2]], {"a": {}}, 10**40])
def test_mine_is_set_again_as_it_was(root: Root, head: Head, mine: Any) -> None:
    odd = 'odd "key".with / dots'
    lose(root, head, {"two": {"x": 1, "y": 1, odd: mine}}, {"two": {"x": 1, "y": 1, odd: "theirs"}})
    assert only(root).keys == ("two", odd)
    changed = end(root, Keep.MINE)
    assert changed == {(head.ino, "values.json")}
    found = values(root, head)["two"][odd]
    assert (type(found), found) == (type(mine), mine)
    assert conflicts.found(root.store) == []
    assert root.store.record(head.key).dirty


def test_objects_on_the_way_are_made_again(root: Root, head: Head) -> None:
    lose(root, head, {"two": {"x": 2, "y": 1}}, {"two": {"x": 3, "y": 1}})
    root.agree(head, S1)
    without = {"_name": "Notes", "k": "base"}
    root.pull(head, remote_object(without, {}, S2), {})
    assert sides(root) == [(1, 2, MISSING)], "a later change elsewhere does not end it: nobody there saw mine"
    assert only(root).stamp == S2
    end(root, Keep.MINE)
    assert values(root, head) == {**without, "two": {"x": 2}}


def test_a_place_inside_of_what_is_no_object_any_more_is_not_overwritten(root: Root, head: Head) -> None:
    lose(root, head, {"two": {"x": 2, "y": 1}}, {"two": {"x": 3, "y": 1}})
    root.agree(head, S1)
    root.pull(head, remote_object({**BASE_VALUES, "two": "text"}, {}, S2), {})
    with pytest.raises(UsageError, match=r"two\.x can't be set"):
        end(root, Keep.MINE)
    end(root, Keep.THEIRS)
    assert values(root, head)["two"] == "text"
    assert conflicts.found(root.store) == []


def test_theirs_changes_nothing(root: Root, head: Head) -> None:
    lose(root, head, {"k": "mine"}, {"k": "theirs"})
    before = root.store.record(head.key)
    assert end(root, Keep.THEIRS) == frozenset()
    assert root.store.record(head.key) == before
    assert conflicts.found(root.store) == []


def test_two_lists_can_be_joined_and_nothing_else(root: Root, head: Head) -> None:
    lose(root, head, {"list": [1, 2], "k": "mine"}, {"list": [3, 1], "k": "theirs"})
    text, both = conflicts.found(root.store)
    with pytest.raises(UsageError, match="k holds one value, and only two lists can be joined"):
        resolve.check(root.store, text, Keep.BOTH)
    resolve.resolve(root.store, both, Keep.BOTH)
    assert values(root, head)["list"] == [3, 1, 2]
    assert conflicts.found(root.store) == [text]


def test_it_ends_when_the_value_is_mine_after_all(root: Root, head: Head) -> None:
    lose(root, head, {"k": 1}, {"k": "theirs"})
    root.agree(head, S1)
    root.pull(head, remote_object({**BASE_VALUES, "k": 1.0}, {}, S2), {})
    assert sides(root) == [("base", 1, 1.0)], "another value, though it looks alike"
    root.agree(head, S2)
    root.pull(head, remote_object({**BASE_VALUES, "k": 1}, {}, S2[:-1] + "3"), {})
    assert conflicts.found(root.store) == []


def test_it_ends_when_the_user_sets_the_value_anew_and_not_for_another_one(root: Root, head: Head) -> None:
    lose(root, head, {"k": "mine"}, {"k": "theirs"})
    save(root, head.key, {**BASE_VALUES, "k": "theirs", "other": 1})
    assert sides(root) == [("base", "mine", "theirs")]
    save(root, head.key, {**BASE_VALUES, "k": "a third", "other": 1})
    assert conflicts.found(root.store) == []


def test_every_value_that_lost_is_kept_the_newest_first(root: Root, head: Head) -> None:
    record = root.store.record(head.key)
    for number, mine in enumerate(("first", "second", "first")):
        root.wall += 1
        conflicts.values_set(root.store, record, record.values, (Lost(("k",), MISSING, mine, f"theirs {number}"),))
    assert sides(root) == [(MISSING, "second", "theirs 1"), (MISSING, "first", "theirs 2")]
    newest, oldest = conflicts.found(root.store)
    resolve.resolve(root.store, newest, Keep.MINE)
    assert sides(root) == [(MISSING, "first", "second")], "one that was not decided stays, against what is there now"
    assert only(root).id == oldest.id
    end(root, Keep.MINE)
    assert values(root, head)["k"] == "first"


def test_an_objects_name_that_lost_can_be_given_again(root: Root, head: Head) -> None:
    lose(root, head, {"_name": "My notes"}, {"_name": "Their notes"})
    now = root.store.heads[head.key]
    assert now.name == "Their notes"
    changed = end(root, Keep.MINE)
    assert root.store.heads[head.key].name == "My notes"
    assert {(1, "My notes"), (1, "Their notes")} < changed


def test_who_may_only_read_can_let_a_lost_value_go(root: Root, head: Head) -> None:
    lose(root, head, {"list": [1]}, {"list": [2]})
    root.store.update_object(head.key, right=Right.READ)
    for keep in (Keep.MINE, Keep.BOTH):
        with pytest.raises(AccessDenied):
            end(root, keep)
    end(root, Keep.THEIRS)
    assert conflicts.found(root.store) == []


def test_while_a_draft_waits_its_conflicts_can_be_ended(root: Root, head: Head) -> None:
    lose(root, head, {"k": "mine"}, {"k": "theirs"})
    root.store.update_object(head.key, draft={"message": "oops", "line": 1, "column": 1})
    assert end(root, Keep.MINE) == frozenset(), "the sidecar is its author's"
    assert root.store.record(head.key).values["k"] == "mine"


def test_what_a_lost_database_would_take_along_can_be_kept_elsewhere(
    root: Root, head: Head, make_root: Callable[[str], Root]
) -> None:
    lose(root, head, {"k": "mine", "two": {"x": None, "y": 1}}, {"k": "theirs", "two": {"x": [], "y": 1}})
    kept = json.loads(json.dumps(conflicts.dump(root.store, head.key)))
    other = make_root("other")
    again = other.object()
    assert again.folder == head.folder
    conflicts.load(other.store, again.key, kept)
    there = [(one.id, one.keys, one.base, one.mine, one.theirs) for one in conflicts.found(other.store)]  # type: ignore[union-attr]
    here = [(one.id, one.keys, one.base, one.mine, one.theirs) for one in conflicts.found(root.store)]  # type: ignore[union-attr]
    assert there == here
    assert len(there) == 2


def test_copies_are_searched_for_in_an_index(root: Root) -> None:
    """With 100,000 files a look at every name would hold up each status for a tenth of a second."""
    queries: list[str] = []
    root.store.db.set_trace_callback(queries.append)
    conflicts.count(root.store)
    root.store.db.set_trace_callback(None)
    for query in queries:
        plans = root.store.db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
        if "FROM node" in query:
            assert "node_conflict" in plans[0][3], (query, plans)
    assert any("FROM node" in query for query in queries)


def test_the_trash_of_conflicts_does_not_stand_in_the_way_of_its_objects(root: Root) -> None:
    head = with_copy(root)
    root.write(root.store.child(head.ino, COPY), b"not sent")  # type: ignore[arg-type]
    end(root, Keep.THEIRS)
    trash.remove(root.store, head, even_full=True)
    assert (Path(root.path) / "trash" / head.folder / "a.txt").read_bytes() == b"theirs"
