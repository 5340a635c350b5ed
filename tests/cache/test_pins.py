"""Pins in the state file: whose they are, and what becomes of them when names change."""

from __future__ import annotations

import pytest

from oaiofs.cache import copies, pins, tree
from oaiofs.cache.store import Head
from oaiofs.errors import NotPermitted
from tests.cache.conftest import Root, fact, remote_object

LATER = "20260202000000000000"


def rename(root: Root, head: Head, old: str, new: str, to: Head | None = None) -> None:
    node = root.store.at(head, old)
    assert node is not None
    tree.rename(root.store, node, (to or head).ino, new)


def missing(root: Root) -> set[str]:
    return {root.store.path_in_object(node) for some in copies.missing(root.store) for node in some}


def test_a_pin_is_inherited_and_stays_over_a_restart(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "d")
    pins.pin(root.store, head.key, "d")
    for clean in (True, False):
        assert [pins.is_pinned(root.store, head.key, path) for path in ("", "a.txt", "d", "d/b.txt", "d/new")] == [
            False, False, True, True, True
        ]  # fmt: skip
        assert [pins.has_own(root.store, head.key, path) for path in ("d", "d/b.txt")] == [True, False]
        assert pins.holder(root.store, head.key, "d/b.txt") == "Notes/d"
        assert pins.holder(root.store, head.key, "a.txt") is None
        root.reopen(clean=clean)


def test_unpinning_takes_the_pins_below_along_unless_it_alone_is_meant(root: Root, head: Head) -> None:
    for path in ("", "d", "d/b.txt", "a.txt"):
        pins.pin(root.store, head.key, path)
    assert pins.unpin(root.store, head.key, "d", alone=True) == {"d"}
    assert pins.unpin(root.store, head.key, "d") == {"d/b.txt"}
    assert pins.unpin(root.store, head.key, "d") == set()
    assert pins.holder(root.store, head.key, "d") == "Notes"
    assert pins.unpin(root.store, head.key, "") == {"", "a.txt"}
    assert root.store.pins == {}
    assert root.reopen().pins == {}


def test_the_whole_mount(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "d")
    pins.pin_everything(root.store)
    new = root.object("New")
    assert pins.is_pinned(root.store, new.key, "anything")
    assert pins.holder(root.store, new.key, "anything") == ""
    root.reopen()
    assert pins.everything(root.store)
    assert pins.unpin_everything(root.store) == 2
    assert not pins.is_pinned(root.store, head.key, "d")


def test_a_rename_takes_the_pin_along(root: Root, head: Head) -> None:
    other = root.object("Other")
    for path in ("a.txt", "d", "d/b.txt"):
        pins.pin(root.store, head.key, path)
    rename(root, head, "a.txt", "z.txt")
    rename(root, head, "d", "e", other)
    assert root.store.pins == {head.key: {"z.txt"}, other.key: {"e", "e/b.txt"}}
    assert root.reopen().pins == {head.key: {"z.txt"}, other.key: {"e", "e/b.txt"}}


def test_a_pin_outlives_the_ways_of_editors(root: Root, head: Head) -> None:
    """Written anew and renamed over it; or moved aside, and a new one made."""
    pins.pin(root.store, head.key, "a.txt")
    root.file(head.ino, "a.txt.new", b"saved")
    rename(root, head, "a.txt.new", "a.txt")
    assert root.store.pins == {head.key: {"a.txt"}}
    rename(root, head, "a.txt", "a.txt~")
    root.file(head.ino, "a.txt", b"saved again")
    assert root.store.pins == {head.key: {"a.txt"}}


def test_what_a_version_brings_to_a_pinned_name_is_missing(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "a.txt")
    pins.pin(root.store, head.key, "d")
    assert missing(root) == set()
    files = {"a.txt": fact(b"newer"), "d/c.txt": fact(b"new"), "x.txt": fact(b"elsewhere"),
             "d/b.txt": root.store.base_files(head.key)["d/b.txt"]}  # fmt: skip
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
    assert missing(root) == {"a.txt", "d/c.txt"}
    pins.pin_everything(root.store)
    assert missing(root) == {"a.txt", "d/c.txt", "x.txt"}


def test_missing_files_are_found_page_by_page(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_AT_ONCE", 2)
    head = root.object("Far")
    root.agree(head, "20260101000000000000")
    files = {f"{number}.txt": fact(str(number).encode()) for number in range(7)}
    root.pull(head, remote_object({"_name": "Far"}, files, LATER), files)
    pins.pin(root.store, head.key, "")
    assert missing(root) == set(files)


def test_the_pin_of_what_is_gone_for_good_is_forgotten(root: Root, head: Head) -> None:
    for path in ("", "a.txt", "d/b.txt"):
        pins.pin(root.store, head.key, path)
    node = root.store.at(head, "a.txt")
    assert node is not None
    tree.unlink(root.store, node)
    pins.tidy(root.store)
    assert root.store.pins == {head.key: {"", "a.txt", "d/b.txt"}}, "it may be about to be saved anew"
    root.agree(head, LATER)
    pins.tidy(root.store)
    assert root.store.pins == {head.key: {"", "d/b.txt"}}


def test_the_sidecar_is_always_here(root: Root, head: Head) -> None:
    with pytest.raises(NotPermitted, match="always here"):
        pins.pin(root.store, head.key, head.sidecar)
    assert root.store.pins == {}


def test_an_object_takes_its_pins_with_it(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "a.txt")
    root.wrong_on_purpose = "the rows of an object are removed alone"
    root.store.delete_object(head.key)
    assert root.store.pins == {}
    assert root.store.db.execute("SELECT count(*) FROM pin").fetchone() == (0,)
