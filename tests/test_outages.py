"""Two devices on the real server while everything that can fail does, by seeded chance; then all is well again.

Each edits files and values of its own, so there is no real conflict: afterwards both and the server hold every edit,
each once, and no conflict copy.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from oaiofs import errors
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.oaio import HttpOaioServer
from tests.depth import deep
from tests.faultproxy import FaultProxy, serving_proxy
from tests.httpdevice import HttpDevice
from tests.remote.worlds import read_all
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]

SEEDS = deep(range(3), range(60))
SECONDS = deep(3.0, 6.0)
OBJECTS = ("A", "B", "C")
STATUSES = (400, 401, 403, 404, 408, 409, 412, 413, 423, 429, 451, 500, 502, 503, 504, 507)
YEAR = str(365 * 86_400)


def break_everything(proxy: FaultProxy) -> None:
    """About every third request meets a fault."""
    for kind in ("cut_before", "lost", "cut_head", "cut_body", "long", "short", "page"):
        proxy.add(kind, chance=0.02)
    for status in STATUSES:
        proxy.add("status", chance=0.006, status=status)
        proxy.add("status_after", chance=0.003, status=status)
    for asked in ("1", YEAR, "nonsense"):
        proxy.add("status", chance=0.006, status=429, headers={"Retry-After": asked})
    proxy.add("latency", chance=0.05, seconds=0.1)
    proxy.add("expired", chance=0.03)
    proxy.add("half_sent", "POST", chance=0.05)
    proxy.add("status", "POST", "*/files/put", chance=0.05, status=400)
    proxy.add("lie", "POST", "*/files/put", chance=0.03)
    proxy.add("flipped", "GET", "*/files/get", chance=0.1)
    proxy.add("skew", "GET", "/api/current_stamp/", chance=0.1, seconds=500.0)
    for kind in ("empty", "partial", "duplicated"):
        proxy.add(kind, "GET", "/api/oaio_stampz/", chance=0.1)  # type: ignore[arg-type]
        proxy.add(kind, "GET", "*/files/listrecursive", chance=0.05)  # type: ignore[arg-type]


@dataclass
class Made:
    """What was edited, as it must be found: object -> path -> content, object -> key -> value."""

    files: dict[str, dict[str, bytes]] = field(default_factory=lambda: {name: {} for name in OBJECTS})
    values: dict[str, dict[str, object]] = field(default_factory=lambda: {name: {"_name": name} for name in OBJECTS})
    edits: Counter[str] = field(default_factory=Counter)
    contents: set[bytes] = field(default_factory=set)  # all that any file ever held


async def edit(device: HttpDevice, made: Made, dice: random.Random, number: int) -> None:
    """One edit; noted when the program was told that it is done."""
    name = dice.choice(OBJECTS)
    own = [path for path in made.files[name] if path.startswith(device.name)]
    kind = dice.choice(("new", "value", "write", "save", "delete", "rename") if own else ("new", "value"))
    path = dice.choice(own) if own else ""
    data = f"{device.name} {number} {'x' * dice.choice((1, 100, 100_000))}".encode()
    made.contents.add(data)
    fresh = f"{device.name}{number}"
    match kind:
        case "value":
            await device.change_value(name, f"{device.name}{number % 5}", lambda _: number)
            made.values[name][f"{device.name}{number % 5}"] = number
        case "delete":
            device.unlink(f"{name}/{path}")
            del made.files[name][path]
        case "rename":
            await device.rename(f"{name}/{path}", f"{name}/{fresh}")
            made.files[name][fresh] = made.files[name].pop(path)
        case _:
            target = fresh if kind == "new" else path
            await (device.save if kind == "save" else device.write)(f"{name}/{target}", data)
            made.files[name][target] = data
    made.edits[kind] += 1


async def work(device: HttpDevice, made: Made, dice: random.Random, enough: Callable[[], bool]) -> None:
    number = 0
    while not enough():
        number += 1
        try:
            await edit(device, made, dice, number)
        except errors.NotFound:
            made.edits["refused"] += 1  # a listing lacked the object: it is in the trash, and comes back
        await look(device, made, dice)
        await trio.sleep(dice.uniform(0.02, 0.1))


async def look(device: HttpDevice, made: Made, dice: random.Random) -> None:
    """Read some file, downloaded where need be: an error, or something that was once written, whole."""
    name = dice.choice(OBJECTS)
    if name not in device.names() or not device.paths(name):
        return
    try:
        assert await device.read(f"{name}/{dice.choice(device.paths(name))}") in made.contents
        made.edits["read"] += 1
    except errors.OaiofsError:
        made.edits["read refused"] += 1


async def impatience(device: HttpDevice, enough: Callable[[], bool]) -> None:
    """A user who types ``oaiofs sync`` again and again."""
    while not enough():
        try:
            await device.sync.finish(0.5)
        except errors.OaiofsError:
            await trio.sleep(0.2)
        await trio.sleep(0.2)


#: Object -> (values, path -> content).
State: TypeAlias = dict[str, tuple[dict[str, object], dict[str, bytes]]]


async def on_the_server(kit: ServerKit, user: str, password: str) -> State:
    """The announced versions, asked without the proxy."""
    server = HttpOaioServer(kit.host, user, password, device_id="observer", app_id="oaiofs")
    host = open_storage(await server.storage_account("Digi"), {})
    found: State = {}
    try:
        for one in (await server.list_objects()).objects:
            files = {}
            for path in one.file_paths:
                async with host.get(f"{one.oaio_id}/{one.stamp}/{path}") as chunks:
                    files[path] = await read_all(chunks)
            name = str(one.values["_name"])
            assert name not in found, "an object was doubled"
            found[name] = (dict(one.values), files)
    finally:
        await host.aclose()
        await server.aclose()
    return found


def differences(found: State, expected: State) -> list[str]:
    """What is there and should not be, or the other way round; short enough to be read."""
    lines = []
    for name in sorted({*found, *expected}):
        for part in (0, 1):
            have, want = (dict(state.get(name, ({}, {}))[part]) for state in (found, expected))
            lines += [
                f"{name}/{key}: {str(have.get(key))[:30]} instead of {str(want.get(key))[:30]}"
                for key in sorted({*have, *want})
                if have.get(key) != want.get(key)
            ]
    return lines


@asynccontextmanager
async def two_devices(kit: ServerKit, url: str, folder: Path) -> AsyncIterator[tuple[HttpDevice, HttpDevice]]:
    """Two devices of a new user that both have all objects; stopped at the end of the block."""
    account = kit.fresh_user("outage")
    async with trio.open_nursery() as nursery:
        one, two = (HttpDevice(url, *account, name, folder / name, nursery) for name in ("one", "two"))
        try:
            for device in (one, two):
                device.start()
            for name in OBJECTS:
                one.mkdir(name)
                await one.write(f"{name}/common", name.encode())
            await one.synced()
            await two.synced()
            assert two.names() == list(OBJECTS)
            yield one, two
        finally:
            with trio.CancelScope(shield=True):
                await one.stop()
                await two.stop()


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_edit_is_lost_or_doubled_while_everything_fails(
    seed: int, oaio_server: ServerKit, tmp_path: Path
) -> None:
    made, dice = Made(), random.Random(seed)
    for name in OBJECTS:
        made.files[name]["common"] = name.encode()
        made.contents.add(name.encode())
    async with serving_proxy(oaio_server.url, seed) as proxy, two_devices(oaio_server, proxy.url, tmp_path) as devices:
        one, two = devices
        break_everything(proxy)
        until = trio.current_time() + SECONDS

        def enough() -> bool:
            """A busy machine gets less done in the same time."""
            return trio.current_time() > until and proxy.injected.total() > 20 and made.edits.total() > 10

        async with trio.open_nursery() as users:
            for device in (one, two):
                users.start_soon(work, device, made, random.Random(dice.random()), enough)
                users.start_soon(impatience, device, enough)
        proxy.faults.clear()
        for device in (one, two, one, two):
            await device.synced(60)
        there = await on_the_server(oaio_server, one.user, one._password)
        expected = {name: (made.values[name], made.files[name]) for name in OBJECTS}
        assert differences(there, expected) == []
        for device in (one, two):
            here = {name: (await device.values(name), await device.files(name)) for name in device.names()}
            assert differences(here, expected) == [], device.name
            assert device.conflicts() == []
            assert device.sync.pending() == 0
            assert device.status.whole()["errors"] == []
    print(f"seed {seed}: {proxy.injected.total()} faults in {len(proxy.seen)} requests: {dict(proxy.injected)}")
    print(f"seed {seed}: edits {dict(made.edits)}: 0 lost, 0 doubled")
