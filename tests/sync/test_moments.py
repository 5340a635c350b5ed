"""An object with many files is read in slices: others have their turns, and what is read is of one moment."""

from __future__ import annotations

import pytest
import trio

from oaiofs.transfer.local import Local
from tests.devicekit import Device, World, simulated

FILES = 450


async def with_many_files(world: World) -> Device:
    one = await world.syncing("one")
    one.mkdir("Many")
    one.mkdir("Many/b")
    for number in range(FILES):
        await one.write(f"Many/{'b/' * (number % 2)}{number}", f"{number}".encode())
    await world.go_on(40)
    assert len(world.stored("Many")) == FILES
    return one


@simulated
async def test_all_is_read_with_pauses(world: World) -> None:
    one = await with_many_files(world)
    key = one.store.by_name["Many"].key
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        seen = await Local(one.store, 30.0).moment(key)
        nursery.cancel_scope.cancel()
    assert turns > FILES // 200
    assert seen.nodes == one.store.attached(key)
    assert seen.base == one.store.base_files(key)
    assert len(seen.nodes) == len(seen.base) == FILES
    assert seen.record == one.store.record(key)


@pytest.mark.parametrize("changes", [1, 100])
@simulated
async def test_what_changes_meanwhile_is_read_anew(world: World, changes: int) -> None:
    """In the end at one go, where it changes over and over."""
    one = await with_many_files(world)
    key = one.store.by_name["Many"].key
    left = changes

    async def program() -> None:
        nonlocal left
        while left:
            left -= 1
            one.unlink(f"Many/{2 * left}")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(program)
        await trio.lowlevel.checkpoint()
        seen = await Local(one.store, 30.0).moment(key)
        assert seen.nodes == one.store.attached(key)
        assert seen.record.local_seq == one.store.record(key).local_seq
        left = 0


@simulated
async def test_all_changed_files_are_hashed_however_many(world: World) -> None:
    one = await with_many_files(world)
    for number in range(FILES):
        await one.write(f"Many/{'b/' * (number % 2)}{number}", f"again {number}".encode())
    key = one.store.by_name["Many"].key
    await world.during(lambda: Local(one.store, 30.0).hash_changed(key))
    assert not any(node.dirty for node in one.store.attached(key).values())
