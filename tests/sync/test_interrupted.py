"""A push that is interrupted at each of its requests in turn, with real HTTP: completed, and nothing sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio

from oaiofs.sync import Pace
from tests.depth import deep
from tests.faultproxy import Fault, FaultProxy, Kind, Message
from tests.httpdevice import HttpDevice
from tests.httpworld import HttpWorld, live
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]

BEFORE = {"kept": b"as it was", "sub/kept too": b"likewise", "edited": b"old", "named": b"to be renamed", "gone": b"x"}
AFTER = {
    "kept": BEFORE["kept"], "sub/kept too": BEFORE["sub/kept too"], "edited": b"n" * 200_000,
    "other name": BEFORE["named"], "new": b"w" * 200_000, "new too": b"small",
}  # fmt: skip
#: Only changes are looked at: no poll comes in between. Nothing is taken for being edited on and on.
STILL = Pace(poll=3600.0, quiet=0.05, longest=60.0)


class Interrupting(FaultProxy):
    """From the *at*-th request on there is no network, *kind* happens to that one; *stored* counts whole puts."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.cable = Fault("cut_before", times=0)
        self.faults.append(self.cable)
        self.stored: Counter[str] = Counter()
        self.interrupted = trio.Event()
        self.passing = 0  # requests that the server is at work on
        self.left = float("inf")
        self.kind: Kind = "lost"
        self.outage = True

    def interrupt(self, at: float, kind: Kind, *, outage: bool) -> None:
        """*at* counts from 1; without an *outage* only that request fails."""
        self.left, self.kind, self.outage = at, kind, outage

    def heal(self) -> None:
        self.left, self.cable.times = float("inf"), 0

    async def _answer(self, request: Message, client: trio.SocketStream) -> bytes:
        self.left -= 1
        hit = self.left == 0
        if hit:
            self.faults.insert(0, Fault(self.kind, times=1))
        try:
            return await super()._answer(request, client)
        finally:
            if hit:
                self.cable.times = float("inf") if self.outage else 0
                self.interrupted.set()

    async def _passed_on(self, request: Message, length: int | None = None) -> Message:
        self.passing += 1
        try:
            answer = await super()._passed_on(request, length)
        finally:
            self.passing -= 1
        if "/files/put?" in request.first and answer.status == 200:
            self.stored[request.first.partition("filename=")[2].partition("&")[0]] += 1
        return answer


async def edited(device: HttpDevice) -> None:
    await device.write("Notes/edited", AFTER["edited"])
    await device.write("Notes/new", AFTER["new"])
    await device.write("Notes/new too", AFTER["new too"])
    await device.rename("Notes/named", "Notes/other name")
    device.unlink("Notes/gone")


async def one_push(world: HttpWorld, name: str, meddle: Callable[[Interrupting, HttpDevice], Awaitable[None]]) -> bool:
    """A new object, changed, with what *meddle* does while that is pushed; whether the push was interrupted."""
    proxy = Interrupting(world.kit.url)
    await proxy.listen(world._nursery)
    device = HttpDevice(proxy.url, *world.account, name, world.folder / name, world._nursery, STILL)
    device.start()
    try:
        await device.sync.first_contact()
        device.mkdir("Notes")
        device.mkdir("Notes/sub")
        for path, data in BEFORE.items():
            await device.write(f"Notes/{path}", data)
        await device.synced()
        proxy.stored.clear()
        await edited(device)
        await meddle(proxy, device)
        proxy.heal()
        await device.synced()
        record = device.record("Notes")
        assert record.oaio_id is not None
        assert world.stored_below(f"{record.oaio_id}/{record.base_stamp}") == AFTER
        announced = {one.oaio_id: one for one in world.listing()}[record.oaio_id]
        assert announced.stamp == record.base_stamp
        assert proxy.stored == {"edited": 1, "new": 1, "new%20too": 1}, "each content was sent whole just once"
        assert world.strays() == set()
    finally:
        with trio.CancelScope(shield=True):
            proxy.heal()
            await device.stop()
    return proxy.interrupted.is_set()


def pushing(device: HttpDevice) -> bool:
    return bool(device.sync.pending() or device.sync.busy)


async def left_alone(proxy: Interrupting, device: HttpDevice) -> None:
    with trio.fail_after(30):
        while pushing(device):
            await trio.sleep(0.01)


async def hit(proxy: Interrupting, device: HttpDevice) -> None:
    """Until the interruption, or until all is pushed with fewer requests than that."""
    while pushing(device) and not proxy.interrupted.is_set():
        await trio.sleep(0.001)


async def killed(proxy: Interrupting, device: HttpDevice) -> None:
    """At the moment of the interruption; the next mount goes on."""
    with trio.fail_after(30):
        await hit(proxy, device)
    await device.stop(clean=False)
    with trio.fail_after(30):  # who mounts again takes longer than what is left at work there
        while proxy.passing:
            await trio.sleep(0.001)
    device.open()
    device.start()


async def given_up(proxy: Interrupting, device: HttpDevice) -> None:
    """The outage lasts until the push has failed for good."""
    with trio.fail_after(60):
        await hit(proxy, device)
        while device.sync.busy:
            await trio.sleep(0.01)


Meddling = Callable[[Interrupting, HttpDevice], Awaitable[None]]
WAYS = {"a blip": left_alone, "killed": killed, "an outage": given_up}

#: In this order the quick version meets a put with each of the first two: these are what could send one twice.
KINDS: list[Kind] = ["half_sent", "lost", "cut_before", "cut_body"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_push_interrupted_at_any_request(oaio_server: ServerKit, kind: Kind, way: str) -> None:
    async def story(world: HttpWorld) -> None:
        async def interrupted(at: int) -> bool:
            async def meddle(proxy: Interrupting, device: HttpDevice) -> None:
                proxy.interrupt(at, kind, outage=way != "a blip")
                await WAYS[way](proxy, device)

            return await one_push(world, f"d{at}", meddle)

        # In the quick version each kind has requests of its own. How many there are depends on how tasks take turns
        # (which copy finds its folder missing), and on whether it is one push or two: so until there are no more.
        at = 1 + deep(KINDS.index(kind), 0)
        while await interrupted(at):
            at += deep(len(KINDS), 1)
        assert at > 8, "there were fewer requests than a push needs"

    live(oaio_server, story)
