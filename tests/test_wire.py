"""What travels, counted with real HTTP: the promises that ``scripts/bench wire`` measures with the whole mount."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from oaiofs.sync import Pace
from scripts.benchmarks import wire
from scripts.benchmarks._objects import register_many
from scripts.benchmarks.wire import Cost
from tests.countingproxy import CountingProxy, Exchange, Traffic
from tests.httpdevice import HttpDevice
from tests.mountkit import Account
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]

#: No look at the server but those that the test asks for.
STILL = Pace(poll=3600.0, quiet=0.2, longest=10.0)
FILES = 100


class Meter:
    """Devices of one new user, behind one counting proxy."""

    def __init__(self, kit: ServerKit, account: Account, folder: Path, nursery: trio.Nursery) -> None:
        self.proxy = CountingProxy(kit.url)
        self.costs: dict[str, Cost] = {}
        self._account, self._folder, self._nursery = account, folder, nursery
        self._devices: list[HttpDevice] = []

    async def device(self, name: str) -> HttpDevice:
        device = HttpDevice(
            self.proxy.url, *self._account, name, self._folder / name, self._nursery, STILL
        )
        self._devices.append(device)
        device.start()
        await device.sync.first_look()
        return device

    async def row(self, name: str, doing: Callable[[], Awaitable[object]], *, own: bool = False) -> None:
        """*own*: a request that was underway before, such as a hold that its device has given up, is not counted."""
        begun, since = len(self.proxy.exchanges), time.monotonic()
        await doing()
        exchanges = tuple(one for one in self.proxy.since(begun) if one.began >= since or not own)
        self.costs[name] = Cost(Traffic.of(exchanges), 0.0, exchanges)

    async def stop(self) -> None:
        for device in self._devices:
            await device.stop()


def metered(kit: ServerKit, folder: Path, test: Callable[[Meter], Awaitable[None]], account: Account) -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            meter = Meter(kit, account, folder, nursery)
            await meter.proxy.listen(nursery)
            try:
                await test(meter)
            finally:
                with trio.CancelScope(shield=True):
                    await meter.stop()
            nursery.cancel_scope.cancel()

    trio.run(run)


async def sent(device: HttpDevice) -> None:
    """Return when the servers have all that was changed."""
    with trio.fail_after(60):
        while device.sync.pending() or device.sync.busy:
            await trio.sleep(0.02)


def test_what_travels_is_the_change(oaio_server: ServerKit, tmp_path: Path) -> None:
    async def story(meter: Meter) -> None:
        one = await meter.device("one")
        one.mkdir("photos")
        for number in range(FILES):
            await one.write(f"photos/{number:03}", f"{number:03}".encode() * 33_333)
        await sent(one)

        async def change(doing: Callable[[], Awaitable[object]]) -> None:
            await doing()
            await sent(one)

        changed = b"x" + b"007" * 33_332 + b"07"
        touch = functools.partial(one.vfs.metadata.set_times, one.ino("photos/012"), 5, 5)
        rows: dict[str, Callable[[], Awaitable[object]]] = {
            wire.VALUE: lambda: one.set_value("photos", "seen", True),
            wire.BYTE: lambda: one.write("photos/007", changed),
            wire.RENAME: lambda: one.rename("photos/042", "photos/another name"),
        }
        for name, doing in rows.items():
            await meter.row(name, functools.partial(change, doing))

        async def touched() -> None:
            touch()
            await one.save("photos/013", b"013" * 33_333)
            await trio.sleep(2 * STILL.quiet)
            await sent(one)

        await one.sync.watch.now()  # what came of the last change is taken in
        await meter.row(wire.TOUCH, touched, own=True)
        await one.sync.watch.now()
        await meter.row(wire.IDLE, one.sync.watch.now)
        await meter.row(wire.LISTING, lambda: meter.device("two"))
        assert meter.costs[wire.RENAME].traffic.up < 10_000
        renaming = meter.costs[wire.RENAME]
        assert renaming.traffic.requests - renaming.listings <= 5
        assert meter.costs[wire.BYTE].traffic.up < 120_000
        assert wire.missed(meter.costs) == []
        assert meter.costs.keys() >= {must.row for must in wire.MUSTS} - {wire.MANY}

    metered(oaio_server, tmp_path, story, Account(*oaio_server.fresh_user("wire")))


def test_a_crowd_of_objects_is_listed_with_one_request(oaio_server: ServerKit, tmp_path: Path) -> None:
    account = Account(*oaio_server.fresh_user("crowd"))
    register_many(oaio_server, account, 200)

    async def story(meter: Meter) -> None:
        async def listing() -> None:
            device = await meter.device("two")
            assert len(device.names()) == 200

        await meter.row(wire.MANY, listing)
        assert wire.missed(meter.costs) == []

    metered(oaio_server, tmp_path, story, account)


@pytest.mark.parametrize(
    ("row", "exchange"),
    [
        (wire.VALUE, Exchange("POST", "/content/api/v2/mounts/m/files/put", 200, 50_001, 10, 0, 1)),
        (wire.TOUCH, Exchange("GET", "/api/oaio_stampz/", 200, 10, 10, 0, 1)),
        (wire.LISTING, Exchange("GET", "/content/api/v2/mounts/m/files/get", 200, 10, 10, 0, 1)),
    ],
)
def test_what_is_missed_is_told(row: str, exchange: Exchange) -> None:
    cost = Cost(Traffic.of([exchange]), 1.0, (exchange,))
    assert len(wire.missed({row: cost})) == 1
