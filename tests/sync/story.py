"""What the users of some devices and of the existing client do, and what must be true of it all in the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any, Protocol

import pytest

from oaiofs import errors
from oaiofs.cache import records
from oaiofs.core import merge
from oaiofs.core.model import OaioId, RemoteObject
from tests.devicekit import Device

from .ledger import FILLING, Ledger, lines_of, original

LONG = 9  # lines of a file that is edited line by line


class Site(Protocol):
    """Where a story happens: in memory (``devicekit.World``), or on a real server (``httpworld.HttpWorld``)."""

    async def go_on(self, seconds: float) -> None:
        """Let so much time go by; where time is real, that of a device whose waits are short."""

    async def settle(self) -> None:
        """Let so much time go by that all who are online look at the server and send what they have."""

    async def apart(self, doing: Callable[[], object]) -> None:
        """Do what the user of another program does; it may block."""

    def listing(self) -> Iterable[RemoteObject]:
        """What the server has."""

    def stored_below(self, folder: str) -> Mapping[str, bytes]:
        """What the storage has below OAIO_ID or OAIO_ID/STAMP: path -> content."""

    def strays(self) -> set[str]:
        """Version folders OAIO_ID/STAMP with files in them that were never announced."""


class ForeignClient(Protocol):
    """The existing client: a twin of it (``peerkit.Peer``), or itself (``realpeer.RealPeer``)."""

    name: str
    offline: bool
    objects: dict[OaioId, dict[str, Any]]  # as on the wire
    files: dict[OaioId, dict[str, bytes]]

    def named(self, name: str) -> OaioId | None: ...
    def values(self, name: str) -> dict[str, Any]: ...
    def set_value(self, name: str, key: str, value: Any) -> None: ...
    def write(self, name: str, path: str, data: bytes) -> None: ...
    def sync(self) -> None: ...


class Story:
    """Steps of users. A step that makes no sense at the moment does nothing."""

    def __init__(
        self, world: Site, devices: Sequence[Device], peer: ForeignClient | None = None, *, doubting: bool = False
    ) -> None:
        self.world = world
        self.devices = devices
        self.peer = peer
        self.ledger = Ledger(doubting=doubting)
        self.deleting = False
        self.held: dict[int, tuple[Device, int]] = {}

    # -- what stands somewhere now ---------------------------------------------------------------------------------

    def text_at(self, device: Device, path: str) -> str:
        """The text of a file on a device as its users see it; '' where there is none, or none that is known."""
        if not device.exists(path):
            return ""
        node = device.store.node(device.ino(path))
        if node.kind is not records.Kind.FILE:
            return ""
        if node.local:
            return Path(device.store.absolute(node)).read_text()
        oaio_id = device.store.record(node.object).oaio_id
        stored = self.world.stored_below(oaio_id).values() if oaio_id else ()
        return next((content for content in stored if md5(content).hexdigest() == node.md5), b"").decode()

    def _is_file(self, device: Device, path: str) -> bool:
        return device.exists(path) and device.store.node(device.ino(path)).kind is records.Kind.FILE

    def _folder(self, device: Device, path: str) -> bool:
        """Make sure that a file's folder is there."""
        obj, _, rest = path.partition("/")
        if not device.exists(obj):
            return False
        folder = rest.rpartition("/")[0]
        if folder and not device.exists(f"{obj}/{folder}"):
            device.mkdir(f"{obj}/{folder}")
        return True

    # -- what users do -----------------------------------------------------------------------------------------------

    async def make(self, device: Device, obj: str) -> None:
        if not device.exists(obj):
            device.mkdir(obj)

    async def write(self, device: Device, path: str, careful: bool) -> None:
        """A whole new content of one line."""
        if self._folder(device, path):
            before = lines_of(self.text_at(device, path))
            line = self.ledger.write(device.name, _inside(path), before, before)
            await (device.save if careful else device.write)(path, line.encode())

    async def write_long(self, device: Device, path: str) -> None:
        """A whole new content of several lines."""
        if self._folder(device, path):
            before = lines_of(self.text_at(device, path))
            self.ledger.remove(before)
            lines = [self.ledger.write(device.name, _inside(path), before, ()) for _ in range(LONG // 2)]
            await device.save(path, f"\n{FILLING}\n".join(lines).encode())

    async def edit_line(self, device: Device, path: str, number: int) -> None:
        """Another line in the place of one, or as one more."""
        ino, text = 0, ""
        while True:  # an editor asks before it saves over what came meanwhile
            if not self._is_file(device, path):
                return
            if ino == device.ino(path):
                break
            ino = device.ino(path)
            try:
                text = (await device.read(path)).decode()
            except errors.Stale:
                ino = 0
        lines = text.split("\n")
        edits = lines_of("\n".join(lines))
        number = min(number * 2, len(lines))
        replaced = lines[number : number + 1]
        lines[number : number + 1] = [self.ledger.write(device.name, _inside(path), edits, replaced)]
        await device.save(path, "\n".join(lines).encode())

    async def hold(self, device: Device, path: str) -> None:
        """Write, and leave the file open."""
        if id(device) in self.held or not self._folder(device, path):
            return
        before = lines_of(self.text_at(device, path))
        handle = await device.open_file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        line = self.ledger.write(device.name, _inside(path), before, before)
        await device.vfs.files.write(handle, 0, line.encode())
        self.held[id(device)] = (device, handle)

    def let_go(self, device: Device) -> None:
        if id(device) in self.held:
            _, handle = self.held.pop(id(device))
            device.close_file(handle)

    async def rename(self, device: Device, old: str, new: str) -> None:
        if old != new and device.exists(old) and self._folder(device, new):
            if device.exists(new) and not self._is_file(device, new):
                return
            moved, replaced = lines_of(self.text_at(device, old)), lines_of(self.text_at(device, new))
            await device.rename(old, new)
            self.ledger.remove(replaced)
            self.ledger.moved(device.name, moved, _inside(new))

    async def delete(self, device: Device, path: str) -> None:
        if self._is_file(device, path):
            self.ledger.remove(lines_of(self.text_at(device, path)))
            device.unlink(path)

    async def set_value(self, device: Device, obj: str, key: str) -> None:
        def new(value: Any) -> str:
            before = ["" if value is None else value]
            return self.ledger.write(device.name, f"value {key}", before, before)

        if device.exists(f"{obj}/values.json"):
            await device.change_value(obj, key, new)

    async def end_conflicts(self, device: Device, obj: str, keep: str) -> None:
        """Decide each conflict of an object as a user does who has seen both sides."""
        if not device.exists(obj):
            return
        self.let_go(device)
        for one in (await device.ask("conflicts", words=[[obj, None]]))["conflicts"]:
            lost = {"mine": one.get("theirs"), "theirs": one.get("mine"), "both": None}[keep]
            gone = lines_of(self.text_at(device, f"{obj}/{lost['path']}")) if isinstance(lost, dict) else [str(lost)]
            try:
                await device.ask("resolve", words=[[one["id"], None]], keep=keep)
            except (errors.UsageError, errors.NotFound):
                continue  # it can't be ended so, or ending another one has ended it
            self.ledger.remove(gone)
        self._note_places(device, obj)

    async def keep_all(self, device: Device) -> None:
        """End every conflict of files that *device* sees without losing anything."""
        for one in (await device.ask("conflicts"))["conflicts"]:
            if one["kind"] == "file":
                await device.ask("resolve", words=[[one["id"], None]], keep="both")
        for name in device.names():
            self._note_places(device, name)

    def _note_places(self, device: Device, obj: str) -> None:
        for path in device.paths(obj):
            self.ledger.moved(device.name, lines_of(self.text_at(device, f"{obj}/{path}")), path)

    async def check_no_conflicts(self) -> None:
        for device in self.devices:
            left = (await device.ask("conflicts"))["conflicts"]
            orphans = {record.name for record in records.objects(device.store.db) if record.orphan}
            assert [one for one in left if one["kind"] == "file" and one["object"] not in orphans] == [], device.name

    async def evict(self, device: Device, obj: str) -> None:
        if device.exists(obj):
            await device.ask("evict", paths=[[obj, None]])

    async def pin(self, device: Device, path: str, wanted: bool) -> None:
        if device.exists(path):
            await device.ask("pin" if wanted else "unpin", paths=[[path, None]])

    async def rename_object(self, device: Device, old: str, new: str) -> None:
        if device.exists(old) and not device.exists(new):
            await device.rename(old, new)

    async def remove_object(self, device: Device, obj: str) -> None:
        if not device.exists(obj):
            return
        self.let_go(device)
        for path in device.paths(obj):
            self.ledger.remove(lines_of(self.text_at(device, f"{obj}/{path}")))
        self.ledger.remove(one for one in device.record(obj).values.values() if isinstance(one, str))
        await device.remove_object(obj)
        self.deleting = True

    async def restart(self, device: Device, clean: bool) -> None:
        if clean:
            self.let_go(device)
        await device.restart(clean=clean)
        self.held.pop(id(device), None)

    # -- what the user of the existing client does -------------------------------------------------------------------

    async def peer_value(self, obj: str, key: str) -> None:
        peer = self.peer
        if peer is not None and peer.named(obj) is not None:
            before = [str(peer.values(obj).get(key, ""))]
            line = self.ledger.write(peer.name, f"value {key}", before, before)
            await self.world.apart(lambda: peer.set_value(obj, key, line))
            self._peer_sent()

    async def peer_write(self, path: str) -> None:
        obj, _, inside = path.partition("/")
        peer = self.peer
        oaio_id = peer.named(obj) if peer is not None else None
        if peer is not None and oaio_id is not None:
            before = lines_of(peer.files[oaio_id].get(inside, b"").decode())
            line = self.ledger.write(peer.name, inside, before, before)
            await self.world.apart(lambda: peer.write(obj, inside, line.encode()))
            self._peer_sent()

    async def peer_offline(self, offline: bool) -> None:
        if self.peer is not None:
            self.peer.offline = offline
            await self.world.apart(self.peer.sync)
            self._peer_sent()

    def _peer_sent(self) -> None:
        """What it has sent and then overwrites with its own next version before anybody looked is its own affair."""
        assert self.peer is not None
        contents = [data for files in self.peer.files.values() for data in files.values()]
        here = {line for data in contents for line in lines_of(data.decode())}
        for wire in self.peer.objects.values():
            here |= {one for one in wire["client_values"].values() if isinstance(one, str)}
        mine = {line for line in self.ledger.alive if self.ledger.edits[line].author == self.peer.name}
        self.ledger.remove(mine - here)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def converge(self) -> None:
        for device in self.devices:
            self.let_go(device)
            device.offline = False
            device.heal()
        await self.peer_offline(False)
        for _ in range(60):
            await self.world.settle()
            if not any(True for device in self.devices for _ in self.unsettled(device)):
                return
        pytest.fail("\n".join(one for device in self.devices for one in self.unsettled(device)))

    def _listed(self) -> dict[OaioId, RemoteObject]:
        return {one.oaio_id: one for one in self.world.listing()}

    def unsettled(self, device: Device) -> Iterator[str]:
        """What keeps a device from being the same as the server, as sentences."""
        if not device.sync.watch.online:
            yield f"{device.name} is offline"
        listed = self._listed()
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
        listed = self._listed()
        for device in self.devices:
            found |= self._losing_values(device)
            for head in list(device.store.heads.values()):
                record = device.store.record(head.key)
                files = {path: data.decode() for path, data in (await device.files(head.name)).items()}
                shown = await device.values(head.name)
                assert merge.same(shown, record.values), f"{device.name}: the sidecar shows the values"
                found |= {line for text in files.values() for line in lines_of(text)}
                found |= {one for one in shown.values() if isinstance(one, str)}
                self._check_copies(device, files)
                remote = listed.get(record.oaio_id) if record.oaio_id else None
                if remote is None:
                    assert record.orphan
                    assert self.deleting
                else:
                    self._check_same(device, remote, files, shown)
        assert not self.ledger.missing(found), "these edits are lost"
        # What was begun for an object that somebody deleted stays, as its versions do: stored files are never cleared.
        assert {one for one in self.world.strays() if one.rpartition("/")[0] in listed} == set()

    def _losing_values(self, device: Device) -> set[str]:
        lost = [one for one in device.conflicts() if one.kind == "value" and one.mine]
        for one in lost:
            key = json.loads(one.path)[0]
            if key != "_name":
                mine = json.loads(one.mine)
                assert self.ledger.is_conflict_real([mine], f"value {key}"), f"{device.name}: needless conflict {one}"
        return {json.loads(one.mine) for one in lost}

    def _check_copies(self, device: Device, files: dict[str, str]) -> None:
        for path, text in files.items():
            place = original(path)
            if place is not None:
                assert self.ledger.is_conflict_real(lines_of(text), place), f"{device.name}: {path} has no reason"

    def _check_same(
        self, device: Device, remote: RemoteObject, files: dict[str, str], shown: dict[str, Any]
    ) -> None:
        assert merge.same(shown, dict(remote.values)), f"{device.name}: the values are the server's"
        stored = self.world.stored_below(f"{remote.oaio_id}/{remote.stamp}")
        assert {path: content.decode() for path, content in stored.items()} == files, device.name
        assert sorted(remote.file_paths) == sorted(files)


def _inside(path: str) -> str:
    """A path below its object."""
    return path.partition("/")[2]


#: What a step may answer when it is refused: as good as any other answer.
REFUSALS = (errors.Unreachable, errors.CrossesObjects, errors.NotADirectory, errors.IsADirectory)
