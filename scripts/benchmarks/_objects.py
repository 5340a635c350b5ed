"""Objects for benchmarks, put on a server as another device would."""

from __future__ import annotations

import trio

from oaiofs.core import names
from oaiofs.core.model import Outgoing, Stamp
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.oaio import HttpOaioServer
from tests.mountkit import Account
from tests.remote.worlds import source_of
from tests.serverkit import ServerKit


def register_many(kit: ServerKit, account: Account, number: int, *, files: int = 0) -> None:
    """Register *number* objects of *account*, each with a few values and *files* small files."""
    trio.run(_register, kit, account, number, files)


async def _register(kit: ServerKit, account: Account, number: int, files: int) -> None:
    server = HttpOaioServer(kit.host, *account, device_id="maker", app_id="bench")
    host = open_storage(await server.storage_account("Digi"), {"Digi": kit.url})
    limit = trio.CapacityLimiter(4)

    async def one(serial: int) -> None:
        async with limit:
            stamp = Stamp(f"20260101{serial:012}")
            values = {"_name": f"object {serial:04}", "number": serial, "text": "x" * 100}
            oaio_id = names.make_oaio_id("bench", account.user, "maker", values, (), stamp)
            paths = tuple(f"file {file}" for file in range(files))
            for path in paths:
                data = f"{path} of {serial}".encode()
                await host.put(f"{oaio_id}/{stamp}/{path}", source_of(data), len(data), 0)
            new = Outgoing(oaio_id, stamp, "", values, paths, {}, (), "Digi")
            await server.register(new)

    async with trio.open_nursery() as nursery:
        for serial in range(number):
            nursery.start_soon(one, serial)
    await host.aclose()
    await server.aclose()
