"""No change is half done: where rows can't be written, the working copy is as it was, and the other way round.

Each change of the mount's users and of the servers is refused at each of its row changes in turn (a trigger raises), on
a disk that is really full, and by a disk that refuses the file. Rows and disk are compared whole, before and after.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import apply, evict, labels, objects, pins, records, trash, tree
from oaiofs.cache.records import Node
from oaiofs.cache.room import is_full
from oaiofs.cache.state import State
from oaiofs.core.model import FileFact
from oaiofs.errors import InvalidSidecar, NoSpace, OaiofsError

from .conftest import Root, fact, remote_object

MakeRoot = Callable[[str], Root]
STAMP = "20260301000000000000"


class World:
    """A client root with one of everything: an object with files, folders, a link and a placeholder; another object."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.store = root.store
        self.head = root.object("Notes")
        self.other = root.object("Other")
        root.file(self.head.ino, "a.txt", b"one")
        root.file(self.head.ino, "b.txt", b"two")
        root.file(self.head.ino, "draft.json", b'{"_name": "Notes", "n": 1}')
        folder = tree.make_folder(self.store, self.head.ino, "folder", 0o755)
        root.file(folder.ino, "c.txt", b"three")
        tree.make_folder(self.store, self.head.ino, "empty", 0o755)
        tree.make_folder(self.store, self.head.ino, "hollow", 0o755)
        tree.make_link(self.store, self.head.ino, ".#lock", "me@here")
        self.files = root.hash_all(self.head.key)
        self.version({**self.files, "p.txt": fact(b"there")}, "20260101000000000000")

    def version(self, files: dict[str, FileFact], stamp: str = STAMP, **values: object) -> None:
        self.files = files
        remote = remote_object({"_name": "Notes", **values}, files, stamp)
        self.root.pull(self.head, remote, files)

    def node(self, path: str) -> Node:
        return next(node for one, node in self.store.walk(self.head.key) if one == path)

    def folder(self, path: str) -> int:
        return self.node(path).ino

    def rows(self) -> dict[str, list[Any]]:
        tables = ("object", "node", "base_file", "conflict", "intent", "pin")
        return {table: self.store.db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}

    def disk(self) -> dict[str, bytes | str | None]:
        """Everything below the client root but the state: bytes, a link's target, None for a folder."""
        found: dict[str, bytes | str | None] = {}
        for part in ("objects", "detached", "trash", "staging"):
            for path in (self.root.path / part).rglob("*"):
                name = str(path.relative_to(self.root.path))
                found[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        return found

    def all(self) -> object:
        heads = {head.key: (head.name, head.sidecar) for head in self.store.heads.values()}
        return self.rows(), self.disk(), heads, sorted(self.store.by_name), copy.deepcopy(self.store.pins)

    def agrees(self) -> None:
        """Each local row has its file, each file its row, and the sidecar shows the values."""
        for head in self.store.heads.values():
            local = {path: node for path, node in self.store.walk(head.key) if node.local}
            folder = self.root.path / "objects" / head.folder
            assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == set(local)
            record = self.store.record(head.key)
            if record.draft is None and head.sidecar in local:
                assert json.loads((folder / head.sidecar).read_text()) == dict(record.shown_values)


def create(world: World) -> None:
    _, descriptor = tree.create_file(world.store, world.head.ino, "new.txt", 0o644)
    os.close(descriptor)


def replace_by_rename(world: World) -> None:
    tree.rename(world.store, world.node("a.txt"), world.head.ino, "b.txt")


def replace_by_placeholder(world: World) -> None:
    tree.rename(world.store, world.node("p.txt"), world.head.ino, "b.txt")


def replace_a_folder(world: World) -> None:
    tree.rename(world.store, world.node("folder"), world.head.ino, "empty")


def move_to_another_object(world: World) -> None:
    tree.rename(world.store, world.node("folder"), world.other.ino, "taken")


def take_a_version(world: World) -> None:
    files = {path: known for path, known in world.files.items() if path not in ("a.txt", "folder/c.txt")}
    new = {"b.txt": fact(b"from afar"), "deep/er/n.txt": fact(b"new")}
    world.version({**files, **new}, _name="Renamed", more=True)


def write(world: World) -> None:
    world.root.write(world.node("a.txt"), b"mine")
    world.root.hash_all(world.head.key)


def keep_both(world: World) -> None:
    world.version({**world.files, "a.txt": fact(b"theirs")})


def open_for_writing(world: World) -> None:
    world.store.writers[world.node("a.txt").ino] += 1


def displace(world: World) -> None:
    open_for_writing(world)
    keep_both(world)
    [displaced] = records.displaced(world.store.db)
    world.store.update_node(displaced.ino, dirty=1)


def take_back(world: World) -> None:
    [displaced] = records.displaced(world.store.db)
    apply.take_back(world.store, displaced, "one")


def hydrate(world: World) -> None:
    staged = world.store.files.stage(b"there", 0)
    try:
        assert apply.hydrated(world.store, world.node("p.txt").ino, staged, 5, fact(b"there").md5)
    finally:
        world.store.files.remove(staged)


def write_values(world: World) -> None:
    world.root.write(world.node("values.json"), b'{"_name": "Told", "n": [1, 2]}')


def write_draft(world: World) -> None:
    world.root.write(world.node("values.json"), b"{")


def judge(world: World) -> None:
    objects.judge_sidecar(world.store, world.node("values.json"))


def put_draft(world: World) -> None:
    objects.put_draft(world.store, world.head, b"{", InvalidSidecar("not whole", 1, 2))


def bring_the_sidecar_back(world: World) -> None:
    world.root.steady += 100.0
    assert objects.restore_sidecar(world.store, world.head) is not None


def nothing(world: World) -> None:
    pass


def lose_the_sidecar(world: World) -> None:
    tree.unlink(world.store, world.node("values.json"))


def adopt(world: World) -> None:
    world.root.wrong_on_purpose = "the version of an object that appears is applied in a step of its own"
    remote = remote_object({"_name": "Afar"}, {}, STAMP)
    with world.store.state.transaction():
        head = objects.adopt(world.store, type(remote)(**{**vars_of(remote), "oaio_id": "another"}))
        objects.write_sidecar(world.store, head.key)
    objects.run_intents(world.store)


def vars_of(remote: Any) -> dict[str, Any]:
    return {name: getattr(remote, name) for name in type(remote).__dataclass_fields__}


def evicted(world: World) -> None:
    found = evict.look(world.store, world.node("a.txt").ino)
    assert isinstance(found, Node), found
    evict.note_attributes(world.store, found)
    staged = evict.evict(world.store, found)
    assert staged is not None
    evict.remove(world.store, [staged])


def pin_some(world: World) -> None:
    pins.pin(world.store, world.head.key, "folder")
    pins.pin(world.store, world.head.key, "folder/c.txt")
    pins.pin(world.store, world.head.key, "a.txt")


#: name -> (what is so before, the change)
CHANGES: dict[str, tuple[Callable[[World], None], Callable[[World], None]]] = {
    "create": (nothing, create),
    "mkdir": (nothing, lambda w: void(tree.make_folder(w.store, w.head.ino, "sub", 0o755))),
    "symlink": (nothing, lambda w: void(tree.make_link(w.store, w.head.ino, ".#new", "x"))),
    "unlink": (nothing, lambda w: tree.unlink(w.store, w.node("a.txt"))),
    "unlink a placeholder": (nothing, lambda w: tree.unlink(w.store, w.node("p.txt"))),
    "unlink the sidecar": (nothing, lose_the_sidecar),
    "rmdir": (nothing, lambda w: tree.remove_folder(w.store, w.node("empty"))),
    "rename": (nothing, lambda w: tree.rename(w.store, w.node("a.txt"), w.folder("folder"), "z.txt")),
    "rename over a file": (nothing, replace_by_rename),
    "rename a placeholder over a file": (nothing, replace_by_placeholder),
    "rename over a folder": (nothing, replace_a_folder),
    "rename into another object": (nothing, move_to_another_object),
    "write": (nothing, lambda w: tree.mark_written(w.store, w.node("a.txt"))),
    "new object": (nothing, lambda w: void(w.root.object("New"))),
    "rename an object": (nothing, lambda w: objects.rename(w.store, w.other, "Elsewhere")),
    "save values": (write_values, judge),
    "save a draft": (write_draft, judge),
    "rename a draft over the sidecar": (nothing, put_draft),
    "the sidecar comes back": (lose_the_sidecar, bring_the_sidecar_back),
    "a version": (nothing, take_a_version),
    "a version in conflict": (write, keep_both),
    "a version of an open file": (open_for_writing, keep_both),
    "an open file comes back": (displace, take_back),
    "a download": (nothing, hydrate),
    "an object appears": (nothing, adopt),
    "an eviction": (nothing, evicted),
    "a pin": (nothing, lambda w: pins.pin(w.store, w.head.key, "a.txt")),
    "unpinning": (pin_some, lambda w: void(pins.unpin(w.store, w.head.key, "folder"))),
    "rename what is pinned": (pin_some, move_to_another_object),
    "an object leaves": (nothing, lambda w: trash.leave(w.store, w.store.record(w.head.key), "gone")),
}


def void(_: object) -> None:
    """For changes that return something."""


class Breaker:
    """Refuses a row change of the open database: the one after so many."""

    def __init__(self, world: World) -> None:
        self.left = -1  # counts on into the negative without a limit
        db = world.store.db
        db.create_function("count_down", 0, self._count_down)
        for table in ("object", "node", "base_file", "conflict", "pin"):
            for verb in ("INSERT", "UPDATE", "DELETE"):
                self._refuse(db, verb, table)
        self._refuse(db, "INSERT", "intent")

    @staticmethod
    def _refuse(db: sqlite3.Connection, verb: str, table: str) -> None:
        place = f"BEFORE {verb} ON main.{table}"
        db.execute(f"CREATE TEMP TRIGGER {verb}_{table} {place} BEGIN SELECT count_down(); END")

    def _count_down(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise OSError(errno.ENOSPC, "no room for this row")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_refused_at_any_of_its_rows_leaves_everything_as_it_was(make_root: MakeRoot, name: str) -> None:
    prepare, change = CHANGES[name]
    world = World(make_root("whole"))
    prepare(world)
    breaker = Breaker(world)
    with contextlib.suppress(InvalidSidecar):
        change(world)
    world.agrees()
    rows = -1 - breaker.left
    assert rows > 0
    for number in range(rows):
        world = World(make_root(str(number)))
        prepare(world)
        before = world.all()
        breaker = Breaker(world)
        breaker.left = number
        with contextlib.suppress(OaiofsError):
            change(world)
        assert breaker.left < 0, "the change ended before"
        assert world.all() == before, f"refused at row {number}"
        breaker.left = -1
        with contextlib.suppress(InvalidSidecar):
            change(world)  # nothing stands in its way
        world.agrees()


# ---------------------------------------------------------------------------------------- on a disk that is full


class SmallDisk:
    """A file system of its own for a client root."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self) -> None:
        with open(self.place / "filled", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        (self.place / "filled").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system: needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "small", place], check=True)
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def world(disk: SmallDisk) -> Iterator[World]:
    root = Root(disk.place)
    yield World(root)
    root.store.close(clean=True)


def use_up_the_reserve(state: State) -> None:
    """Fill the log of the state file too, for any size of a transaction; a reader keeps it from being used anew."""
    for size in (100_000, 10_000, 8):
        state.set_meta(f"filling {size}", "")
    for size in (100_000, 10_000, 8):
        with contextlib.suppress(NoSpace):
            while True:  # other values each time: SQLite writes no page that stays the same
                state.set_meta(f"filling {size}", os.urandom(size // 2).hex())


def test_removing_goes_on_for_as_long_as_it_takes(disk: SmallDisk, world: World) -> None:
    for number in range(300):
        tree.make_folder(world.store, world.head.ino, f"folder {number}", 0o755)
    disk.fill()
    for _ in range(20):
        tree.rename(world.store, world.node("a.txt"), world.head.ino, "b.txt")
        tree.rename(world.store, world.node("b.txt"), world.head.ino, "a.txt")
        world.root.write(world.node("draft.json"), b"short")
    for number in range(300):
        tree.remove_folder(world.store, world.node(f"folder {number}"))
    world.agrees()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_on_a_disk_that_is_full_to_the_last_byte_is_whole_or_not_at_all(
    disk: SmallDisk, world: World, name: str
) -> None:
    prepare, change = CHANGES[name]
    prepare(world)
    disk.fill()
    with contextlib.closing(sqlite3.connect(disk.place / "state.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchone()
        (disk.place / "reserve").unlink()
        disk.fill()
        use_up_the_reserve(world.store.state)
        before = world.all()
        refusal: BaseException | None = None
        try:
            change(world)
        except (NoSpace, OSError) as error:
            refusal = error
        assert refusal is not None
        assert is_full(refusal)
        assert world.all() == before
    disk.make_room()
    assert world.store.state.find_room()
    with contextlib.suppress(InvalidSidecar):
        change(world)
    world.agrees()


def test_a_sidecar_is_written_in_the_room_that_was_kept_back(disk: SmallDisk, world: World) -> None:
    lose_the_sidecar(world)
    disk.fill()
    bring_the_sidecar_back(world)
    world.agrees()
    assert not (disk.place / "reserve").exists()
    assert not world.store.state.find_room()
    disk.make_room()
    assert world.store.state.find_room()
    assert (disk.place / "reserve").stat().st_size > 0


def test_a_label_waits_for_room_and_leaves_what_is_kept_back_alone(disk: SmallDisk, world: World) -> None:
    place = disk.place / labels.place(world.head.folder)
    place.unlink(missing_ok=True)
    disk.fill()
    labels.write(world.store, world.head.key)
    assert not place.exists()
    assert (disk.place / "reserve").exists()
    disk.make_room()
    objects.run_intents(world.store)
    assert place.exists()


@pytest.mark.parametrize("clean", [True, False])
def test_a_start_on_a_full_disk_can_read_and_remove(disk: SmallDisk, clean: bool) -> None:
    world = World(Root(disk.place))
    disk.fill()
    world.store.close(clean=clean)
    disk.fill()
    root = Root(disk.place)
    again = World.__new__(World)
    again.root, again.store, again.head = root, root.store, root.store.by_name["Notes"]
    again.agrees()
    tree.unlink(root.store, again.node("a.txt"))
    tree.rename(root.store, again.node("b.txt"), again.head.ino, "z.txt")
    again.agrees()
    root.store.close(clean=True)


def test_a_start_without_any_room_says_what_to_do(disk: SmallDisk) -> None:
    World(Root(disk.place)).store.close(clean=True)
    (disk.place / "reserve").unlink()
    disk.fill()
    with pytest.raises(NoSpace, match=r"disk is full.*delete something"):
        Root(disk.place)
    disk.make_room()
    Root(disk.place).store.close(clean=True)


def test_a_new_client_root_on_a_full_disk_says_what_to_do(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(NoSpace, match=r"disk is full.*delete something"):
        State(disk.place)
    disk.make_room()
    State(disk.place).close(clean=True)


def test_an_intent_that_could_not_be_cleared_is_not_carried_out_again(world: World) -> None:
    """Its inode number may be another file's by then."""
    objects.move_later(world.store, f"objects/{world.head.folder}/a.txt", "", inode_of(world, "a.txt"))
    [(number, *_)] = records.intents(world.store.db)
    world.store.carried_out.add(number)
    objects.run_intents(world.store)
    assert records.intents(world.store.db) == []
    world.agrees()


def inode_of(world: World, path: str) -> int:
    return os.stat(world.store.absolute(world.node(path))).st_ino


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_used_up_quota_is_a_full_disk(number: int) -> None:
    assert is_full(OSError(number, "no more"))
    assert is_full(NoSpace("no more"))


def test_a_broken_disk_is_no_full_one() -> None:
    assert not is_full(OSError(errno.EIO, "broken"))
