"""A local copy leaves and is a placeholder: what stays as it was, what keeps it here, what a kill or a hand does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oaiofs.cache import apply, check, copies, evict, pins, records, trash, tree, xattrs
from oaiofs.cache.records import Kind, Node
from oaiofs.cache.store import Head, Store
from oaiofs.core.eviction import Hold
from oaiofs.core.model import Right
from tests.cache.conftest import Root, fact, remote_object
from tests.devicekit import problems

LATER = "20260202000000000000"


def node(root: Root, head: Head, path: str = "a.txt") -> Node:
    found = root.store.at(head, path)
    assert found is not None
    return found


def why(root: Root, head: Head, path: str = "a.txt", *, busy: bool = False) -> Hold | None:
    found = evict.look(root.store, node(root, head, path).ino, busy=busy)
    return found if isinstance(found, Hold) else None


def go(store: Store, ino: int) -> None:
    """Evict what may go."""
    found = evict.look(store, ino)
    assert isinstance(found, Node), found
    evict.note_attributes(store, found)
    place = evict.evict(store, found)
    assert place is not None
    evict.remove(store, [place])


def bring_back(root: Root, head: Head, data: bytes, path: str = "a.txt") -> None:
    staged = root.store.files.stage(data, 0)
    assert apply.hydrated(root.store, node(root, head, path).ino, staged, len(data), fact(data).md5)


def test_only_the_bytes_go(root: Root, head: Head) -> None:
    store = root.store
    store.update_node(node(root, head).ino, mode=0o750)
    os.chmod(store.absolute(node(root, head)), 0o750)
    before = node(root, head)
    place = Path(store.absolute(before))
    go(store, before.ino)
    assert node(root, head) == replace(before, local=False)
    assert not place.exists()
    assert os.listdir(root.path / "staging") == []
    assert not store.record(head.key).dirty
    assert root.on_disk(head) == {"d", "d/b.txt"}
    bring_back(root, head, b"first")
    status = place.stat()
    assert (place.read_bytes(), status.st_mtime_ns, status.st_mode & 0o777) == (b"first", before.mtime_ns, 0o750)
    assert node(root, head) == before
    go(store, before.ino)


def test_attributes_stay_too(root: Root, head: Head) -> None:
    """Only this machine knows them: they are in the rows as long as there is no file, also over a kill."""
    place = store_place(root, head)
    os.setxattr(place, "user.mine", b"kept")
    go(root.store, node(root, head).ino)
    assert xattrs.noted(root.store, node(root, head).ino) == {"user.mine": b"kept"}
    root.reopen()
    bring_back(root, head, b"first")
    assert xattrs.on_file(place) == {"user.mine": b"kept"}
    os.setxattr(place, "user.other", b"new")
    os.removexattr(place, "user.mine")
    go(root.store, node(root, head).ino)
    bring_back(root, head, b"first")
    assert xattrs.on_file(place) == {"user.other": b"new"}
    tree.unlink(root.store, node(root, head))
    assert root.store.db.execute("SELECT count(*) FROM xattr").fetchone() == (0,)
    root.wrong_on_purpose = "the agreed version goes on"


def test_killed_in_an_eviction_the_attributes_are_known(root: Root, head: Head) -> None:
    place = store_place(root, head)
    os.setxattr(place, "user.mine", b"kept")
    evict.note_attributes(root.store, node(root, head))
    os.rename(place, root.path / "staging" / "1-1")
    root.reopen()
    bring_back(root, head, b"first")
    assert xattrs.on_file(place) == {"user.mine": b"kept"}


def test_an_attribute_set_in_the_last_moment_keeps_the_copy(root: Root, head: Head) -> None:
    found = evict.look(root.store, node(root, head).ino)
    assert isinstance(found, Node)
    evict.note_attributes(root.store, found)
    os.setxattr(store_place(root, head), "user.mine", b"late")
    assert evict.evict(root.store, found) is None
    assert node(root, head).local


def test_attributes_that_can_not_be_read_keep_the_copy(
    root: Root, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: str, *, follow_symlinks: bool) -> list[str]:
        raise OSError(errno.EIO, "the disk is broken")

    found = evict.look(root.store, node(root, head).ino)
    assert isinstance(found, Node)
    os.setxattr(store_place(root, head), "user.mine", b"kept")
    with monkeypatch.context() as disk:
        disk.setattr(os, "listxattr", broken)
        evict.note_attributes(root.store, found)
        assert evict.evict(root.store, found) is None
    assert evict.evict(root.store, found) is None, "not noted"
    assert xattrs.on_file(store_place(root, head)) == {"user.mine": b"kept"}


def store_place(root: Root, head: Head) -> str:
    return root.store.absolute(node(root, head))


def test_once_more_is_nothing(root: Root, head: Head) -> None:
    go(root.store, node(root, head).ino)
    assert why(root, head) is Hold.NOT_HERE
    assert evict.look(root.store, 999_999) is Hold.GONE


def _dirty(root: Root, head: Head) -> None:
    root.write(node(root, head), b"edited")


def _sent_but_not_agreed(root: Root, head: Head) -> None:
    """Hashed for a push that is under way: no version has it yet."""
    root.write(node(root, head), b"edited")
    root.hash_all(head.key)


def _renamed(root: Root, head: Head) -> None:
    tree.rename(root.store, node(root, head, "d/b.txt"), head.ino, "z.txt")
    tree.rename(root.store, node(root, head), head.ino, "b.txt")
    tree.rename(root.store, node(root, head, "z.txt"), head.ino, "a.txt")


def _reading(root: Root, head: Head) -> None:
    root.store.uses.opened(node(root, head).ino)


def _writing(root: Root, head: Head) -> None:
    root.store.writers[node(root, head).ino] += 1


def _unflushed(root: Root, head: Head) -> None:
    root.store.unflushed[node(root, head).ino] += 1


def _no_hash(root: Root, head: Head) -> None:
    """A storage host that tells no hashes, and a file that nobody hashed here."""
    root.store.update_node(node(root, head).ino, md5="")
    files = {path: replace(one, md5="") for path, one in root.store.base_files(head.key).items()}
    records.set_base_files(root.store.db, head.key, files)


def _host_tells_no_hash(root: Root, head: Head) -> None:
    files = {path: replace(one, md5="") for path, one in root.store.base_files(head.key).items()}
    records.set_base_files(root.store.db, head.key, files)


def _orphan(root: Root, head: Head) -> None:
    root.store.update_object(head.key, orphan=1)


def _rebuilt(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "a rebuilt object is dirty"
    root.store.update_object(head.key, rebuilt=1)


def _no_right(root: Root, head: Head) -> None:
    root.store.update_object(head.key, right=Right.NONE)


def _host_lost_a_file(root: Root, head: Head) -> None:
    root.store.uses.missed.add((head.key, root.store.record(head.key).base_stamp or ""))


def _pinned(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "a.txt")


def _pinned_above(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "")


def _pinned_everything(root: Root, head: Head) -> None:
    pins.pin_everything(root.store)


def _gone_by_hand(root: Root, head: Head) -> None:
    root.wrong_on_purpose = "a file is taken away by hand"
    os.unlink(root.store.absolute(node(root, head)))


def _another_owner(root: Root, head: Head) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives a file away: needs root")
    os.chown(root.store.absolute(node(root, head)), 12345, 12345)


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (_dirty, Hold.DIRTY), (_sent_but_not_agreed, Hold.UNSENT), (_renamed, Hold.UNSENT), (_reading, Hold.OPEN),
        (_writing, Hold.OPEN), (_unflushed, Hold.OPEN), (_no_hash, Hold.UNHASHED), (_host_tells_no_hash, Hold.UNSENT),
        (_orphan, Hold.ORPHAN), (_rebuilt, Hold.REBUILT), (_no_right, Hold.UNREADABLE),
        (_host_lost_a_file, Hold.MISSED), (_pinned, Hold.PINNED), (_pinned_above, Hold.PINNED),
        (_pinned_everything, Hold.PINNED), (_gone_by_hand, Hold.MISSING),
        (_another_owner, Hold.OTHER_OWNER),
    ],
)  # fmt: skip
def test_what_keeps_a_copy_here(
    root: Root, head: Head, happens: Callable[[Root, Head], None], expected: Hold
) -> None:  # fmt: skip
    assert why(root, head) is None
    happens(root, head)
    assert why(root, head) is expected


def test_an_object_that_is_being_synced_is_left_alone(root: Root, head: Head) -> None:
    assert why(root, head, busy=True) is Hold.BUSY
    assert why(root, head) is None


def test_a_new_object_s_files_stay(root: Root) -> None:
    head = root.object()
    root.file(head.ino, "a.txt", b"x")
    root.hash_all(head.key)
    assert why(root, head) is Hold.UNSENT


def test_what_is_no_attached_file_stays(root: Root, head: Head) -> None:
    root.file(head.ino, "a.txt~", b"an editor's")
    tree.make_link(root.store, head.ino, ".#lock", "me@here")
    for path in ("a.txt~", ".#lock", "d", head.sidecar):
        found = evict.look(root.store, node(root, head, path).ino)
        assert found in (Hold.NO_FILE, Hold.DIRTY), path
    assert evict.look(root.store, head.ino) is Hold.GONE


def test_files_of_a_removed_object_and_displaced_ones_stay(root: Root, head: Head) -> None:
    store = root.store
    ino = node(root, head).ino
    store.writers[ino] += 1
    root.pull(head, remote_object({"_name": "Notes"}, {"a.txt": fact(b"theirs")}, LATER), {"a.txt": fact(b"theirs")})
    [displaced] = records.displaced(store.db)
    assert displaced.ino == ino
    assert evict.look(store, ino) is Hold.NO_FILE
    del store.writers[ino]
    apply.take_back(store, displaced, "one")
    bring_back(root, head, b"theirs")
    local = node(root, head)
    trash.remove(store, store.heads[head.key], even_full=True)
    assert evict.look(store, local.ino) in (Hold.REMOVED, Hold.GONE)


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_changed_by_hand_is_an_edit(root: Root, head: Head, same_size: bool) -> None:
    place = Path(root.store.absolute(node(root, head)))
    place.write_bytes(b"FIRST" if same_size else b"longer")
    os.utime(place, ns=(1, 2))
    assert why(root, head) is Hold.CHANGED
    assert node(root, head).dirty
    assert root.store.record(head.key).dirty
    assert place.read_bytes() in (b"FIRST", b"longer")


def test_a_file_written_in_the_very_last_moment_stays(root: Root, head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name in the working copy, between the look at it and its way out."""
    store = root.store
    place = Path(store.absolute(node(root, head)))
    found = evict.look(store, node(root, head).ino)
    assert isinstance(found, Node)
    rename = store.files.rename

    def late(source: str, target: str) -> object:
        place.write_bytes(b"an edit")
        return rename(source, target)

    monkeypatch.setattr(store.files, "rename", late)
    assert evict.evict(store, found) is None
    monkeypatch.undo()
    assert place.read_bytes() == b"an edit"
    assert node(root, head) == found
    assert os.listdir(root.path / "staging") == []
    assert why(root, head) is Hold.CHANGED, "and now it is known to be one"


@pytest.mark.parametrize("moment", ["before the commit", "before the removal"])
def test_killed_in_an_eviction(root: Root, head: Head, moment: str) -> None:
    """``crashkit`` tries every step; here each of the two states by hand."""
    place, staged = root.store.absolute(node(root, head)), root.path / "staging" / "1-1"
    os.rename(place, staged)
    if moment == "before the removal":
        root.store.update_node(node(root, head).ino, local=0)
    root.reopen()
    assert not node(root, head).local
    assert not staged.exists()
    assert not root.store.record(head.key).dirty
    bring_back(root, head, b"first")


def test_a_power_cut_that_forgets_the_removal(root: Root, head: Head) -> None:
    root.store.update_node(node(root, head).ino, local=0)
    root.reopen()
    assert node(root, head).local
    assert not root.store.record(head.key).dirty


def test_an_origin_is_not_needed_any_more(root: Root, head: Head) -> None:
    """Renamed as a placeholder once, then opened and sent: it is under its own path since."""
    root.store.update_node(node(root, head).ino, origin="Digi/oaio/20250101000000000000/old.txt")
    go(root.store, node(root, head).ino)
    assert node(root, head).origin == ""
    assert tree.origin(root.store, node(root, head)).endswith("/20260101000000000000/a.txt")


def test_check_knows_evicted_files(root: Root, head: Head) -> None:
    """Also what would be wrong with one: bytes at its place, or none anywhere."""
    go(root.store, node(root, head).ino)
    assert problems(root.store) == []
    assert check.hashes(root.store, head.key).keys() == {node(root, head, "d/b.txt").ino}
    root.wrong_on_purpose = "bytes are put at a placeholder's place, and none are known to be anywhere"
    place = Path(root.store.absolute(node(root, head)))
    place.touch()
    assert "in the working copy, but said not to be downloaded" in problems(root.store)[0]
    place.unlink()
    records.set_base_files(root.store.db, head.key, {})
    root.store.touch(head.key)
    assert "not downloaded, and no stored version has it" in problems(root.store)[0]


def test_check_knows_pins(root: Root, head: Head) -> None:
    pins.pin(root.store, head.key, "a.txt")
    assert problems(root.store) == []
    root.store.pins[head.key].add("d")
    assert "goes by other pins" in problems(root.store)[0]
    root.store.pins[head.key].discard("d")


def test_an_empty_file_by_hand_is_an_edit_not_the_evicted_file(root: Root, head: Head) -> None:
    go(root.store, node(root, head).ino)
    Path(root.store.absolute(node(root, head))).touch()
    root.reopen()
    assert (node(root, head).local, node(root, head).dirty) == (True, True)
    assert root.store.record(head.key).dirty


# -- in which order, and how much ------------------------------------------------------------------------------------


def order(root: Root, head: Head) -> list[str]:
    inos = [ino for some in copies.least_recently_used(root.store) for ino in some]
    nodes = [root.store.node(ino) for ino in inos]
    return [one.name for one in nodes if not root.store.is_sidecar(one)]


def use(root: Root, ino: int) -> None:
    root.wall += 60
    root.store.uses.opened(ino)
    root.store.uses.closed(ino)


def test_the_least_recently_used_goes_first_also_after_a_restart(root: Root, head: Head) -> None:
    root.file(head.ino, "c.txt", b"third")
    root.file(head.ino, "empty", b"")
    root.agree(head)
    for path in ("d/b.txt", "a.txt"):
        use(root, node(root, head, path).ino)
    assert not root.store.uses.flush(root.store.state)
    assert order(root, head) == ["c.txt", "b.txt", "a.txt"]
    use(root, node(root, head, "d/b.txt").ino)
    root.reopen(clean=True)
    assert order(root, head) == ["c.txt", "a.txt", "b.txt"]
    use(root, node(root, head, "c.txt").ino)
    root.reopen(clean=False)
    assert order(root, head) == ["c.txt", "a.txt", "b.txt"], "a kill forgets the last uses, no more"


def test_uses_are_noted_without_a_write_to_the_database_each(root: Root, head: Head) -> None:
    before = root.store.db.total_changes
    for _ in range(1000):
        use(root, node(root, head).ino)
    assert root.store.db.total_changes == before
    root.store.uses.flush(root.store.state)
    assert root.store.db.total_changes == before + 1


def test_thousands_of_uses_are_brought_in_in_slices(root: Root, head: Head) -> None:
    for ino in range(10_000, 10_250):
        use(root, ino)
    assert [root.store.uses.flush(root.store.state) for _ in range(4)] == [True, True, False, False]


def test_in_pages_nothing_is_left_out(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_AT_ONCE", 3)
    head = root.object()
    names = [f"{number}.txt" for number in range(9)]
    for name in names:
        root.file(head.ino, name, name.encode())
    root.agree(head)
    for name in names[4:]:
        use(root, node(root, head, name).ino)
    root.store.uses.flush(root.store.state)
    assert order(root, head) == names


def test_bytes_here_and_everywhere(root: Root, head: Head) -> None:
    sizes = copies.sizes(root.store)[head.key]
    assert (sizes.total, sizes.local, sizes.pinned) == (11, 11, 0)
    go(root.store, node(root, head).ino)
    pins.pin(root.store, head.key, "d")
    sizes = copies.sizes(root.store)[head.key]
    assert (sizes.total, sizes.local, sizes.pinned) == (11, 6, 6)
    root.write(node(root, head, "d/b.txt"), b"longer now")
    sizes = copies.sizes(root.store)[head.key]
    assert (sizes.total, sizes.local, sizes.pinned) == (15, 10, 10)
    pins.pin(root.store, head.key, "")
    assert copies.sizes(root.store)[head.key].pinned == 15


def test_copies_count_as_whole_blocks_and_changing_ones_as_the_disk_has_them(root: Root, head: Head) -> None:
    kept, changing = copies.clean_bytes(root.store.state)
    assert (kept, changing) == (2 * 4096, [])
    place = Path(root.store.absolute(node(root, head)))
    root.write(node(root, head), bytes(300_000))
    kept, changing = copies.clean_bytes(root.store.state)
    assert (kept, changing) == (4096, [node(root, head).ino])
    assert copies.bytes_on_disk(root.store, changing) == place.stat().st_blocks * 512 >= 300_000


def test_a_sparse_file_is_itself_again(root: Root, head: Head) -> None:
    """Holes are bytes: what comes back is the same content, which no hole is taken for."""
    place = Path(root.store.absolute(node(root, head)))
    tree.mark_written(root.store, node(root, head))
    with place.open("r+b") as stream:
        stream.truncate(1 << 20)
        stream.seek(1 << 19)
        stream.write(b"in the middle")
    whole = place.read_bytes()
    root.agree(head)
    go(root.store, node(root, head).ino)
    bring_back(root, head, whole)
    assert place.read_bytes() == whole
    assert node(root, head).kind is Kind.FILE
