"""The existing client's behaviour as a foreign writer, on the in-memory cloud: what ``ae_oaio_client`` 0.3.19 does.

It sends what it has without a look at what it replaces, all files of the object under a new stamp, and only then takes
over what a listing from *before* that had newer. It never forgets a file that a version no longer has, and never
notices that an object is gone. ``tests/server/test_peer_twin.py`` gives both the same day and compares what is there.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from oaiofs import errors
from oaiofs.core import stamps
from oaiofs.core.model import FILES_KEY, NAME_KEY, OaioId
from oaiofs.remote.faults import Faults
from oaiofs.remote.memory_storage import StoredFile
from tests.devicekit import USER, World


class Peer:
    """One device that runs the existing client. *offline* changes stay here until the next ``sync``."""

    def __init__(self, world: World, name: str = "peer", user: str = USER) -> None:
        self.world = world
        self.name = name
        self.user = user
        self.offline = False
        self.objects: dict[OaioId, dict[str, Any]] = {}  # as on the wire
        self.files: dict[OaioId, dict[str, bytes]] = {}

    def named(self, name: str) -> OaioId | None:
        """The object that is called *name* here."""
        found = [i for i, wire in self.objects.items() if wire["client_values"].get(NAME_KEY) == name]
        return found[0] if found else None

    def values(self, name: str) -> dict[str, Any]:
        oaio_id = self.named(name)
        assert oaio_id is not None
        values: dict[str, Any] = self.objects[oaio_id]["client_values"]
        return values

    def set_value(self, name: str, key: str, value: Any) -> None:
        """``update_object``."""
        self._update(name, {key: value})

    def write(self, name: str, path: str, data: bytes) -> None:
        """Write a file below the object's root, then ``update_folder``."""
        oaio_id = self.named(name)
        assert oaio_id is not None
        self.files[oaio_id][path] = data
        self._update(name, {FILES_KEY: sorted(self.files[oaio_id])})

    def _update(self, name: str, values: dict[str, Any]) -> None:
        oaio_id = self.named(name)
        assert oaio_id is not None
        wire = self.objects[oaio_id]
        wire["client_stamp"] = stamps.make(self.world.now())
        wire["client_values"].update(values)
        self.sync()

    def sync(self) -> None:
        """``synchronize_with_server_if_online``."""
        if self.offline:
            return
        listed = {
            one.oaio_id: deepcopy(self.world.cloud.objects[one.oaio_id].wire)
            for one in self.world.cloud.listing(self.user, Faults()).objects
        }
        for wire in sorted(self.objects.values(), key=lambda one: str(one["client_stamp"])):
            if wire["client_stamp"] > wire["server_stamp"]:
                self._upload(wire)
        for wire in sorted(listed.values(), key=lambda one: str(one["client_stamp"])):
            here = self.objects.get(wire["oaio_id"])
            if here is None or here["client_stamp"] < wire["client_stamp"]:
                self._download(wire)

    def _upload(self, wire: dict[str, Any]) -> None:
        for path in wire["client_values"].get(FILES_KEY, []):
            place = f"{wire['oaio_id']}/{wire['client_stamp']}/{path}"
            data = self.files[wire["oaio_id"]][path]
            self.world.storage.store(place, StoredFile(data, int(self.world.now().timestamp() * 1000) * 1_000_000))
        try:
            self.world.cloud.upload(self.user, deepcopy(wire), base="")
        except errors.RemoteNotFound:
            return  # deleted there: it will try again for ever
        wire["server_stamp"] = wire["client_stamp"]
        wire["server_values"] = deepcopy(wire["client_values"])

    def _download(self, wire: dict[str, Any]) -> None:
        files = self.files.setdefault(wire["oaio_id"], {})
        for path in wire["client_values"].get(FILES_KEY, []):
            files[path] = self.world.storage.files[f"{wire['oaio_id']}/{wire['client_stamp']}/{path}"].content
        wire |= {"server_stamp": wire["client_stamp"], "server_values": deepcopy(wire["client_values"])}
        self.objects[wire["oaio_id"]] = wire
