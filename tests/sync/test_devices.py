"""Two and three devices, whatever they do in whatever order: in the end all have the same, and no edit is lost.

Every edit is a text of its own, so that it can be found again. An edit may only be missing in the end where somebody
who saw it replaced or deleted it; else it is in a file, a value, a conflict copy or a conflict record.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oaiofs import errors
from oaiofs.cache import records
from oaiofs.core import merge
from oaiofs.remote.faults import Faults
from oaiofs.sync import Pace
from tests.devicekit import PACE, USER, Device, World, simulate

OBJECTS = ("A", "B")
PATHS = ("f", "g", "d/h")
KEYS = ("k", "l")
SERVER_CALLS = ("register", "upload", "list_objects", "delete", "current_stamp")
CALLS = (*SERVER_CALLS, "list_tree", "put", "copy", "get", "remove")
SETTINGS = settings(
    max_examples=int(os.environ.get("OAIOFS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


class Story:
    """What the users of some devices did, and which of their edits are still to be found."""

    def __init__(self, world: World, devices: list[Device]) -> None:
        self.world = world
        self.devices = devices
        self.written: dict[str, str] = {}  # md5 -> text of every content
        self.alive: set[str] = set()
        self.deleting = False
        self.held: dict[int, tuple[Device, int]] = {}
        self._numbers = itertools.count(1)

    def new(self, device: Device, what: str) -> str:
        return f"{what} {next(self._numbers)} by {device.name}"

    # -- what stands somewhere now ---------------------------------------------------------------------------------

    def seen_at(self, device: Device, path: str) -> str | None:
        """The text of a file on a device."""
        node = device.store.node(device.ino(path))
        if node.kind is not records.Kind.FILE:
            return None
        if node.local:
            return Path(device.store.absolute(node)).read_text()
        return self.written.get(node.md5)

    def replaced(self, device: Device, path: str) -> None:
        """Somebody who sees it has done away with what is at *path*."""
        if device.exists(path):
            self.alive.discard(self.seen_at(device, path) or "")

    # -- what users do -----------------------------------------------------------------------------------------------

    async def make(self, device: Device, obj: str) -> None:
        if not device.exists(obj):
            device.mkdir(obj)

    async def write(self, device: Device, path: str, careful: bool) -> None:
        if not self._folder(device, path):
            return
        self.replaced(device, path)
        text = self._content(device)
        await (device.save if careful else device.write)(path, text.encode())
        self.alive.add(text)

    async def hold(self, device: Device, path: str) -> None:
        """Write, and leave the file open."""
        if id(device) in self.held or not self._folder(device, path):
            return
        self.replaced(device, path)
        handle = await device.open_file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        text = self._content(device)
        await device.vfs.files.write(handle, 0, text.encode())
        self.held[id(device)] = (device, handle)
        self.alive.add(text)

    def let_go(self, device: Device) -> None:
        if id(device) in self.held:
            _, handle = self.held.pop(id(device))
            device.close_file(handle)

    async def rename(self, device: Device, old: str, new: str) -> None:
        if old != new and device.exists(old) and self._folder(device, new):
            if device.exists(new) and device.store.node(device.ino(new)).kind is not records.Kind.FILE:
                return
            self.replaced(device, new)
            await device.rename(old, new)

    async def delete(self, device: Device, path: str) -> None:
        if device.exists(path):
            self.replaced(device, path)
            device.unlink(path)

    async def set_value(self, device: Device, obj: str, key: str) -> None:
        if not device.exists(f"{obj}/values.json"):
            return
        shown = await device.values(obj)
        self.alive.discard(shown.get(key, ""))
        text = self.new(device, "value")
        await device.set_value(obj, key, text)
        self.alive.add(text)

    async def rename_object(self, device: Device, old: str, new: str) -> None:
        if device.exists(old) and not device.exists(new):
            await device.rename(old, new)

    async def remove_object(self, device: Device, obj: str) -> None:
        if not device.exists(obj):
            return
        self.let_go(device)
        for path in device.paths(obj):
            self.replaced(device, f"{obj}/{path}")
        self.alive -= {one for one in device.record(obj).values.values() if isinstance(one, str)}
        await device.remove_object(obj)
        self.deleting = True

    async def restart(self, device: Device, clean: bool) -> None:
        if clean:
            self.let_go(device)
        await device.restart(clean=clean)
        self.held.pop(id(device), None)

    def _content(self, device: Device) -> str:
        text = self.new(device, "content")
        self.written[hashlib.md5(text.encode()).hexdigest()] = text
        return text

    def _folder(self, device: Device, path: str) -> bool:
        """Make sure that a file's folder is there."""
        obj, _, rest = path.partition("/")
        if not device.exists(obj):
            return False
        folder = rest.rpartition("/")[0]
        if folder and not device.exists(f"{obj}/{folder}"):
            device.mkdir(f"{obj}/{folder}")
        return True

    # -- the end -------------------------------------------------------------------------------------------------------

    async def converge(self) -> None:
        for device in self.devices:
            self.let_go(device)
            device.offline = False
            device.server.faults.scripted.clear()
            device.hosts.faults.scripted.clear()
        for _ in range(60):
            await self.world.go_on(30)
            if not any(True for device in self.devices for _ in self.unsettled(device)):
                return
        pytest.fail("\n".join(one for device in self.devices for one in self.unsettled(device)))

    def unsettled(self, device: Device) -> Iterator[str]:
        """What keeps a device from being the same as the server, as sentences."""
        if not device.sync.watch.online:
            yield f"{device.name} is offline"
        listed = {one.oaio_id: one for one in self.world.cloud.listing(USER, Faults()).objects}
        for record in records.objects(device.store.db):
            listed_one = listed.pop(record.oaio_id, None) if record.oaio_id else None
            if record.orphan and self.deleting:
                continue
            if record.dirty or record.removed or record.pending or not listed_one:
                trouble = device.sync.trouble.get(record.key)
                yield f"{device.name}: {record.name} {record} {trouble}"
            elif listed_one.stamp != record.base_stamp:
                yield f"{device.name}: {record.name} is at {record.base_stamp}, not at {listed_one.stamp}"
        yield from (f"{device.name}: {oaio_id} is missing" for oaio_id in listed)

    async def check(self) -> None:
        found: set[str] = set()
        listed = {one.oaio_id: one for one in self.world.cloud.listing(USER, Faults()).objects}
        for device in self.devices:
            for one in device.conflicts():
                found |= {json.loads(one.mine)} if one.kind == "value" and one.mine else set()
            for head in list(device.store.heads.values()):
                record = device.store.record(head.key)
                files = {path: data.decode() for path, data in (await device.files(head.name)).items()}
                shown = await device.values(head.name)
                assert merge.same(shown, record.values), f"{device.name}: the sidecar shows the values"
                found |= {*files.values(), *(one for one in shown.values() if isinstance(one, str))}
                remote = listed.get(record.oaio_id) if record.oaio_id else None
                if remote is None:
                    assert record.orphan
                    assert self.deleting
                    continue
                assert merge.same(shown, dict(remote.values)), f"{device.name}: the values are the server's"
                stored = self.world.storage.below(f"{remote.oaio_id}/{remote.stamp}")
                assert {path: file.content.decode() for path, file in stored.items()} == files, device.name
                assert sorted(remote.file_paths) == sorted(files)
        assert self.alive <= found, "these edits are lost"
        # What was begun for an object that somebody deleted stays, as its versions do: stored files are never cleared.
        assert {one for one in self.world.strays() if one.rpartition("/")[0] in listed} == set()


def ops(names: tuple[str, ...] = OBJECTS, *, deleting: bool = True) -> st.SearchStrategy[Any]:
    device = st.integers(0, 2)
    obj = st.sampled_from(names)
    path = st.builds("/".join, st.tuples(obj, st.sampled_from(PATHS)))
    choices = [
        st.tuples(st.just("write"), device, path, st.booleans()),
        st.tuples(st.just("hold"), device, path),
        st.tuples(st.just("let_go"), device),
        st.tuples(st.just("rename"), device, path, path),
        st.tuples(st.just("delete"), device, path),
        st.tuples(st.just("set_value"), device, obj, st.sampled_from(KEYS)),
        st.tuples(st.just("make"), device, obj),
        st.tuples(st.just("offline"), device, st.booleans()),
        st.tuples(st.just("restart"), device, st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from((0.03, 1.0, 2.06, 5.0, 12.0, 40.0))),
        st.tuples(st.just("fault"), device, st.sampled_from(CALLS), st.booleans()),
        st.tuples(st.just("rename_object"), device, obj, obj),
    ]
    if deleting:
        choices.append(st.tuples(st.just("remove_object"), device, obj))
    return st.lists(st.one_of(choices), min_size=3, max_size=25)


async def tell(story: Story, steps: list[tuple[Any, ...]]) -> None:
    """Do what the steps say; a refusal is as good as any other answer."""
    for verb, *arguments in steps:
        if verb == "wait":
            await story.world.go_on(arguments[0])
            continue
        device = story.devices[arguments[0] % len(story.devices)]
        rest = arguments[1:]
        if verb == "offline":
            device.offline = rest[0]
        elif verb == "let_go":
            story.let_go(device)
        elif verb == "fault":
            faults = device.server.faults if rest[0] in SERVER_CALLS else device.hosts.faults
            if rest[1]:
                faults.drop_answer(rest[0])
            else:
                faults.fail(rest[0], errors.ServerFault("the server stumbles"))
        else:
            step: Callable[..., Awaitable[None]] = getattr(story, verb)
            try:
                await step(device, *rest)
            except (errors.Unreachable, errors.CrossesObjects, errors.NotADirectory, errors.IsADirectory):
                continue


def _pace(number: int, checks_base: bool) -> Pace:
    """Where the last writer wins, pushes at the very same moment have tests of their own (test_transfer)."""
    return PACE if checks_base else replace(PACE, quiet=PACE.quiet + number * 0.37)


def play(count: int, steps: list[tuple[Any, ...]], *, checks_base: bool = True) -> None:
    async def run(world: World) -> None:
        devices = [await world.syncing(f"d{number}", pace=_pace(number, checks_base)) for number in range(count)]
        story = Story(world, devices)
        await story.make(devices[0], "A")
        await story.set_value(devices[0], "A", "k")
        await story.write(devices[0], "A/f", careful=False)
        await world.go_on(14)
        await tell(story, steps)
        await story.converge()
        await story.check()

    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), run, checks_base=checks_base)


@SETTINGS
@given(ops(deleting=False))
def test_two_devices(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps)


@SETTINGS
@given(ops())
def test_three_devices_that_also_remove_objects(steps: list[tuple[Any, ...]]) -> None:
    play(3, steps)


@SETTINGS
@given(ops(deleting=False))
def test_on_a_server_that_takes_the_last_writer(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps, checks_base=False)


OWN = st.tuples(st.integers(0, 1), st.sampled_from(("write", "save", "value", "delete", "offline", "online", "wait")))


@SETTINGS
@given(st.lists(OWN, max_size=25))
def test_who_keeps_to_their_own_files_and_values_never_meets_a_conflict(steps: list[tuple[int, str]]) -> None:
    async def run(world: World) -> None:
        devices = [await world.syncing("d0"), await world.syncing("d1")]
        story = Story(world, devices)
        await story.make(devices[0], "A")
        await world.go_on(14)
        for number, verb in steps:
            device = devices[number]
            match verb:
                case "write" | "save":
                    await story.write(device, f"A/file of {number}", careful=verb == "save")
                case "value":
                    await story.set_value(device, "A", f"key of {number}")
                case "delete":
                    await story.delete(device, f"A/file of {number}")
                case "wait":
                    await world.go_on(3)
                case _:
                    device.offline = verb == "offline"
        await story.converge()
        await story.check()
        assert [device.conflicts() for device in devices] == [[], []]
        assert devices[0].names() == ["A"]

    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), run)
