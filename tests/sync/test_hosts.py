"""Storage hosts as the oaio server hands them out."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from oaiofs.remote.contract import StorageHost
from oaiofs.transfer.hosts import Hosts
from tests.devicekit import World, simulated


@simulated
async def test_nobody_waits_for_an_account_that_the_server_is_slow_to_tell(world: World) -> None:
    world.cloud.add_storage("Koofr")
    one = await world.syncing("one")
    hosts = Hosts(one.server, {})
    opened: dict[str, StorageHost] = {}

    async def open_(name: str, csh_id: str) -> None:
        opened[name] = await hosts(csh_id)

    async with trio.open_nursery() as nursery:
        one.server.faults.latency = 0.0
        await open_("first", "Digi")
        one.server.faults.latency = 60.0
        for name, csh_id in (("other", "Koofr"), ("other again", "Koofr"), ("known", "Digi")):
            nursery.start_soon(open_, name, csh_id)
        await wait_all_tasks_blocked()
        assert opened.keys() == {"first", "known"}
        assert opened["known"] is opened["first"]
        await world.go_on(60)
    assert opened["other"] is opened["other again"], "asked for once"
    await hosts.aclose()
