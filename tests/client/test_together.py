"""Several tasks in one client, a call that is given up, and edits of two devices at the same time."""

from __future__ import annotations

import math

import pytest
import trio

from oaiofs import errors

from .conftest import Clients


async def test_many_calls_at_once(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        note = await desk.register_object({"_name": "shared by tasks"})
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(desk.register_file, f"{number}.txt", b"%d" % number)
                nursery.start_soon(desk.update_object, note.oaio_id, {f"n{number}": number})
        await laptop.synchronize_with_server_if_online()
        seen = laptop.client_objectz
        assert seen.keys() == desk.client_objectz.keys()
        assert all(one.server_stamp for one in desk.client_objectz.values())
        assert seen[note.oaio_id].client_values == {"_name": "shared by tasks"} | {f"n{n}": n for n in range(6)}
        contents = [await laptop.read_file(oaio_id) for oaio_id in seen if oaio_id != note.oaio_id]
        assert sorted(contents) == [b"%d" % number for number in range(6)]


@pytest.mark.parametrize("steps", range(0, 60, 6))
async def test_a_call_that_is_given_up_is_done_by_the_next_one(clients: Clients, steps: int) -> None:
    """Given up after so many turns of the scheduler, wherever the call is by then."""
    alice = clients.user()
    async with clients.open(alice, "desk") as desk:
        note = await desk.register_object({"_name": "n"})
        with trio.CancelScope() as scope:

            async def give_up() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(give_up)
                await desk.update_file(note.oaio_id, "a.txt", b"a")
        assert await desk.synchronize_with_server_if_online()
        after = desk.client_objectz[note.oaio_id]
        assert after.server_values == after.client_values
        if "_file_paths" in after.client_values:
            assert await desk.read_file(note.oaio_id) == b"a"


async def test_two_devices_edits_are_merged_and_a_deletion_yields_to_an_edit(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        note = await desk.register_file("a.txt", b"first")
        await laptop.synchronize_with_server_if_online()
        await laptop.update_object(note.oaio_id, {"by laptop": 1})
        merged = await desk.update_file(note.oaio_id, file_content=b"by desk")
        assert merged.server_values == {"by laptop": 1, "_file_paths": ["a.txt"]}
        with pytest.raises(errors.Conflict, match="so it is back"):
            await laptop.unregister_object(note.oaio_id)
        assert await laptop.read_file(note.oaio_id) == b"by desk"
        await laptop.unregister_object(note.oaio_id)
        assert laptop.client_objectz == {}


async def test_what_was_never_registered_can_be_taken_back_offline(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, offline=True) as desk:
        note = await desk.register_object({"_name": "a mistake"})
        await desk.unregister_object(note.oaio_id)
        assert desk.client_objectz == {}
    async with clients.open(alice) as desk:
        assert await desk.synchronize_with_server_if_online()
        assert desk.client_objectz == {}
        assert {row["access_right"] for row in await desk.userz_access(note.oaio_id)} == {"x"}


@pytest.mark.parametrize("seconds", [-1.0, -math.inf, math.nan])
async def test_a_time_that_can_not_be_waited_is_refused(clients: Clients, seconds: float) -> None:
    async with clients.open(clients.user()) as desk:
        with pytest.raises(errors.UsageError, match="not below 0"):
            await desk.synchronize_with_server_if_online(seconds)
        assert await desk.synchronize_with_server_if_online(math.inf)
