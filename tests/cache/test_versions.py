"""The cache of old versions' contents: by hash, within its bound, and never anything that is not whole."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from oaiofs.cache import objects, tree
from oaiofs.cache.repair import repair
from oaiofs.cache.store import Store
from oaiofs.cache.versions import VersionFiles
from oaiofs.core.model import FileFact
from oaiofs.errors import NoSpace
from oaiofs.verbs.check import examine


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "root")
    yield opened
    opened.close(clean=True)


def fact(data: bytes) -> FileFact:
    return FileFact(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


def put(cache: VersionFiles, store: Store, data: bytes, used: int = 0) -> str:
    name = cache.name(fact(data), "place")
    cache.make_room(len(data))
    cache.put(store.files.stage(data, 0), name)
    if used:
        os.utime(store.files.absolute(f"versions/{name}"), (used, used))
    return name


def read(cache: VersionFiles, name: str) -> bytes | None:
    descriptor = cache.open(name)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as stream:
        return stream.read()


def test_what_is_put_is_there_and_survives_a_restart(store: Store) -> None:
    name = put(VersionFiles(store), store, b"content")
    assert read(VersionFiles(store), name) == b"content"
    assert read(VersionFiles(store), VersionFiles(store).name(fact(b"other"), "place")) is None


def test_what_has_no_hash_goes_by_its_place_and_time(store: Store) -> None:
    cache = VersionFiles(store)
    names = {cache.name(FileFact(3, "", time), place) for time in (1, 2) for place in ("a", "b")}
    assert len(names) == 4
    assert cache.name(fact(b"x"), "a") == cache.name(fact(b"x"), "b")


def test_a_file_that_was_cut_is_not_believed(store: Store) -> None:
    cache = VersionFiles(store)
    name = put(cache, store, b"content")
    os.truncate(store.files.absolute(f"versions/{name}"), 3)
    assert read(cache, name) is None
    assert os.listdir(store.files.absolute("versions")) == []


def test_what_was_used_longest_ago_makes_room(store: Store) -> None:
    cache = VersionFiles(store, most=10)
    first, second = put(cache, store, b"1111", used=100), put(cache, store, b"2222", used=200)
    held = cache.open(first)  # used just now
    third = put(cache, store, b"3333")
    assert [read(cache, name) for name in (first, second, third)] == [b"1111", None, b"3333"]
    large = put(cache, store, b"x" * 100)
    assert [read(cache, name) for name in (first, third, large)] == [None, None, b"x" * 100]
    assert held is not None
    assert os.pread(held, 10, 0) == b"1111", "who has it open keeps it"
    os.close(held)


def test_a_full_disk_is_told_before_it_is_filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VersionFiles(store)
    name = put(cache, store, b"content")
    monkeypatch.setattr(store.state.room, "free", lambda: 5)
    with pytest.raises(NoSpace):
        cache.make_room(6)
    assert read(cache, name) is None, "the cache goes first"
    cache.make_room(5)


def test_a_working_copy_is_taken_only_if_it_has_the_content(store: Store) -> None:
    cache = VersionFiles(store)
    head = objects.create(store, "Notes", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    node, descriptor = tree.create_file(store, head.ino, "a.txt", 0o644)
    os.write(descriptor, b"content")
    os.close(descriptor)
    wanted = fact(b"content")
    assert cache.local_like(head.key, wanted) == "", "nobody has hashed it yet"
    store.update_node(node.ino, dirty=0, size=wanted.size, md5=wanted.md5)
    here = cache.local_like(head.key, wanted)
    assert here == store.absolute(store.node(node.ino))
    name = cache.name(wanted, "place")
    Path(here).write_bytes(b"CONTENT")
    cache.take_local(wanted, name, here, store.files.new_staging())
    assert read(cache, name) is None
    Path(here).write_bytes(b"content")
    cache.take_local(wanted, name, here, store.files.new_staging())
    assert read(cache, name) == b"content"
    assert os.listdir(store.files.absolute("versions")) == [name]
    cache.take_local(wanted, name, here + ".gone", store.files.new_staging())
    assert os.listdir(store.files.absolute("staging")) == []


@pytest.mark.parametrize("deep", [False, True])
def test_check_finds_what_is_not_what_it_is_called(store: Store, deep: bool) -> None:
    cache = VersionFiles(store)
    good, cut, other = put(cache, store, b"good"), put(cache, store, b"to be cut"), put(cache, store, b"other")
    unhashed = cache.name(FileFact(4, ""), "place")
    cache.put(store.files.stage(b"1234", 0), unhashed)
    os.truncate(store.files.absolute(f"versions/{cut}"), 1)
    Path(store.files.absolute(f"versions/{other}")).write_bytes(b"OTHER")
    found = trio.run(functools.partial(examine, store, in_use=False, deep=deep))
    wrong = {cut, other} if deep else {cut}
    assert {one.where for one in found} == {f"versions/{name}" for name in wrong}
    repair(store, found, in_use=True)
    assert trio.run(functools.partial(examine, store, in_use=False, deep=True)) == []
    assert read(cache, good) is None, "nothing is lost with a cache"
