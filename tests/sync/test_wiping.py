"""Stored files that are to go with their object: when they do, and when they must not."""

from __future__ import annotations

import pytest
import trio

from oaiofs.cache import wipes
from oaiofs.core.model import OaioId, Right
from oaiofs.errors import AccessDenied, Refused
from oaiofs.transfer import wiping
from tests.devicekit import Device, World, share, simulated
from tests.sync.stories import two_with_notes
from tests.sync.trashing import restore

WIPE = {"word": ["Notes", None], "wipe": True, "yes": True}


@simulated
async def test_the_stored_versions_go_once_the_object_is_deleted(world: World) -> None:
    one, two = await two_with_notes(world)
    folder = world.announced("Notes").oaio_id
    assert world.stored_below(folder)
    with pytest.raises(Refused, match="gone for good"):
        await one.ask("rm", word=["Notes", None], wipe=True)
    await one.ask("rm", **WIPE)
    assert world.stored_below(folder), "the server has not deleted it yet"
    await world.go_on(20)
    assert two.names() == []
    assert world.stored_below(folder) == {}
    assert one.store.state.meta("wipes") is None
    assert (await restore(one, "Notes"))["new"]
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_a_wish_outlives_a_kill_and_an_outage(world: World) -> None:
    one, _two = await two_with_notes(world)
    folder = world.announced("Notes").oaio_id
    one.offline = True
    await one.ask("rm", **WIPE)
    await world.go_on(20)
    await one.restart(clean=False)
    await world.go_on(20)
    assert world.stored_below(folder)
    one.offline = False
    await world.go_on(400)
    assert world.stored_below(folder) == {}


@simulated
async def test_a_restored_object_keeps_its_files(world: World) -> None:
    one, two = await two_with_notes(world)
    folder = world.announced("Notes").oaio_id
    await one.ask("rm", **WIPE)
    assert not (await restore(one, "Notes"))["new"]
    await world.go_on(100)
    assert world.stored_below(folder)
    await one.remove_object("Notes")  # this time nothing is wished
    await world.go_on(100)
    assert two.names() == []
    assert world.stored_below(folder)


async def with_a_file_moved(world: World) -> tuple[OaioId, Device]:
    """The id of Notes, and a device whose object Other has a file from there, of which no byte is here."""
    _one, two = await two_with_notes(world, "Other")
    oaio_id = world.announced("Notes").oaio_id
    await two.stop()
    fresh = await world.syncing("three")
    await world.go_on(20)
    await fresh.rename("Notes/a.txt", "Other/a.txt")
    return oaio_id, fresh


@simulated
async def test_what_another_object_has_its_bytes_from_waits_for_it(world: World) -> None:
    folder, fresh = await with_a_file_moved(world)
    assert not fresh.store.node(fresh.ino("Other/a.txt")).local
    record = fresh.record("Notes")
    await fresh.ask("rm", **WIPE)
    wipes.deleted(fresh.store, record)  # as if the server had been this quick
    assert wipes.due(fresh.store) == []
    await world.go_on(100)
    assert world.stored_below(folder) == {}, "the other object's version is stored now"
    assert await fresh.read("Other/a.txt") == b"first"


@simulated
async def test_what_comes_back_from_the_trash_just_then_keeps_its_bytes(world: World) -> None:
    folder, fresh = await with_a_file_moved(world)
    await fresh.ask("rm", word=["Other", None])
    await world.go_on(20)
    record = fresh.record("Notes")
    in_trash = wiping._in_trash

    def looked(root: str, oaio_id: str) -> bool:
        trio.from_thread.run(restore, fresh, "Other")
        return in_trash(root, oaio_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiping, "_in_trash", looked)
        await fresh.ask("rm", **WIPE)
        wipes.deleted(fresh.store, record)
        await fresh.transfer.wiping.once()
    assert world.stored_below(folder)
    await world.go_on(100)
    assert await fresh.read("Other/a.txt") == b"first"


@simulated
async def test_who_may_not_delete_can_not_wipe(world: World) -> None:
    one, _two = await two_with_notes(world)
    folder = world.announced("Notes").oaio_id
    share(world, "Notes", "bob", Right.UPDATE)
    his = await world.syncing("his", user="bob")
    await world.go_on(20)
    with pytest.raises(AccessDenied, match="needs right D"):
        await his.ask("rm", **WIPE)
    share(world, "Notes", "bob", Right.DELETE)
    await world.go_on(20)
    await his.ask("rm", **WIPE)
    share(world, "Notes", "bob", Right.UPDATE)  # before the server hears of it
    await world.go_on(100)
    assert one.names() == ["Notes"]
    assert world.stored_below(folder)
    assert his.store.state.meta("wipes") is None
