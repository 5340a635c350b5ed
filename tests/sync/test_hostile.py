"""What strangers share: every object that can be used is here, nothing of the others touches anything."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oaiofs.core.model import FileFact, OaioId, Right
from oaiofs.errors import NoSpace
from oaiofs.remote.memory_objects import KnownObject
from oaiofs.remote.memory_storage import StoredFile
from tests.devicekit import USER, Device, World, simulated

STAMP = "20260301000000000000"
LAST = "99991231235959999999"


def wire(oaio_id: str, stamp: str = STAMP, values: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An object as a stranger announces it."""
    return {
        "oaio_id": oaio_id, "client_stamp": stamp, "server_stamp": stamp, "client_values": values or {"_name": oaio_id},
        "server_values": {}, "csh_id": "Digi", "username": "mallory", "device_id": "x", "app_id": "y",
        "csh_access_right": "C", **more,
    }  # fmt: skip


def share(world: World, announced: dict[str, Any], files: Mapping[str, bytes] | None = None) -> None:
    """Let the server have a stranger's object, shared with the user, and the storage its files."""
    oaio_id, stamp = OaioId(announced["oaio_id"]), announced["client_stamp"]
    world.cloud.objects[oaio_id] = KnownObject("mallory", announced, {USER: Right(announced["csh_access_right"])})
    for path, content in (files or {}).items():
        place = f"{oaio_id}/{stamp}/{path}"
        world.storage.make_folder(place.rpartition("/")[0])
        world.storage.store(place, StoredFile(content, 1_000_000_000))


def left_out(device: Device, name: str) -> list[str]:
    """What the status says is left out of the object."""
    found = device.status.whole()["errors"]
    return [one["message"] for one in found if one.get("name") == name and one.get("what") == "left out"]


HOSTILE_PATHS: list[object] = [
    "../../../escaped", "/escaped", "", ".", "a/../../escaped", "a//b", "a\0b", "x" * 5000, "a/" * 200 + "a",
    "half\ud800", "new\nline", 5, None, True, ["escaped"], {"a": 1}, 10**4000, ".versions/x", "dup", "dup", "file",
    "file/below",
]  # fmt: skip


def everything(folder: Path) -> set[str]:
    return {os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names}


@simulated
async def test_each_impossible_path_is_left_out_and_told_and_the_others_work(world: World) -> None:
    device = await world.syncing("a")
    before = everything(world.folder)
    good = {"dup": b"1", "file": b"2", "fine/deep": b"3"}
    share(world, wire("x", values={"_name": "../x", "_file_paths": [*HOSTILE_PATHS, "fine/deep"]}), good)
    await world.go_on(30)
    [name] = device.names()
    assert name == "_.⁄x"
    assert await device.files(name) == good
    told = left_out(device, name)
    assert len(told) == len(HOSTILE_PATHS) - 2  # one "dup" and "file" are fine
    assert all(len(text) < 500 and text.isprintable() for text in told)
    new = {path for path in everything(world.folder) - before if not path.startswith(("a/objects/", "a/oaiofs.db"))}
    assert new == set()
    assert device.state(name) == "synced"
    await device.set_value(name, "mine", 1)
    await world.go_on(30)
    assert world.cloud.objects[OaioId("x")].wire["client_values"]["mine"] == 1
    assert left_out(device, name) == [], "they are gone with the version that had them"


@simulated
async def test_the_longest_path_fits_below_any_client_root(world: World) -> None:
    device = await world.syncing("a" * 200)
    longest = "/".join(["b" * 29] * 100)
    files = {longest: b"1", "short": b"2"}
    share(world, wire("x", values={"_name": "d" * 250, "_file_paths": list(files)}), files)
    await world.go_on(30)
    [name] = device.names()
    assert await device.files(name) == files


@simulated
async def test_an_object_with_the_last_stamp_of_all_is_shown_and_says_why_it_can_not_be_changed(world: World) -> None:
    device = await world.syncing("a")
    share(world, wire("last", LAST))
    share(world, wire("near", "99991231235959000000", {"_name": "near", "_file_paths": ["f"]}), {"f": b"x"})
    await world.go_on(30)
    assert device.names() == ["last", "near"]
    for name in device.names():
        await device.set_value(name, "mine", 1)
    await world.go_on(60)
    assert "last stamp" in device.error("last")
    assert (await device.values("last"))["mine"] == 1, "kept here"
    assert not device.record("near").dirty
    assert "99991231235959000000" < str(device.base("near")) <= LAST


@simulated
async def test_a_stamp_from_the_future_is_built_upon(world: World) -> None:
    device = await world.syncing("a")
    share(world, wire("x", "20991231000000000000"))
    await world.go_on(30)
    await device.set_value("x", "mine", 1)
    await world.go_on(30)
    assert device.state("x") == "synced"
    assert str(device.base("x")) > "20991231000000000000"


@simulated
async def test_an_older_stamp_or_the_same_with_other_content_loses_nothing(world: World) -> None:
    device = await world.syncing("a")
    share(world, wire("x", "20260301000000000005"))
    await world.go_on(30)
    await device.set_value("x", "mine", 1)
    share(world, wire("x", "20260301000000000001", {"_name": "x", "theirs": 1}))  # a server set back to a backup
    await world.go_on(60)
    assert await device.values("x") == {"_name": "x", "theirs": 1, "mine": 1}
    agreed = str(device.base("x"))
    share(world, wire("x", agreed, {"_name": "x", "theirs": 2}))
    await world.go_on(60)
    assert await device.values("x") == {"_name": "x", "theirs": 1, "mine": 1}


PLANTED: list[object] = [
    None, 5, "x", [], [[]], True, {}, {"oaio_id": 5},
    *(wire(oaio_id) for oaio_id in ("..", ".", "a/b", "/abs", "", "nul\0", "x" * 5000, "half\ud800", "new\nline")),
    *(wire("odd", stamp) for stamp in ("", "x" * 20, "٢" * 20, "20261301000000000000", "9" * 20, "9" * 5000)),
    wire("nan", values={"_name": "nan", "x": float("nan")}), wire("inf", values={"x": float("-inf")}),
    wire("half", values={"x": "\udfff"}), wire("halfkey", values={"\ud800": 1}), wire("huge", values={"x": 10**5000}),
    wire("large", values={"x": "y" * (9 << 20)}), wire("right", csh_access_right="root"), wire("csh", csh_id={"a": 1}),
    wire("list", client_values=[]), wire("text", client_values="{}"),
]  # fmt: skip


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"x": made}
    return made


@simulated
async def test_each_impossible_object_is_left_out_and_told_and_the_others_work(world: World) -> None:
    device = await world.syncing("a")
    before = everything(world.folder)
    share(world, wire("good"))
    world.cloud.planted = [*PLANTED, wire("deep", client_values=deep(10_000)), wire("good")]
    await world.go_on(30)
    assert device.names() == ["good"]
    told = [one["message"] for one in device.status.whole()["errors"] if one.get("what") == "left out of the listing"]
    assert len(told) == len(PLANTED) + 2
    assert all(text.isprintable() for text in told)
    await device.set_value("good", "mine", 1)
    await world.go_on(30)
    assert world.announced("good").values == {"_name": "good", "mine": 1}
    new = {path for path in everything(world.folder) - before if not path.startswith(("a/objects/good", "a/oaiofs.db"))}
    assert new == set()


class Lying(StoredFile):
    """What the storage lists of it is another thing."""

    @property
    def fact(self) -> FileFact:
        return FileFact((1 << 62) - 1, "", (1 << 63) - 1)


@simulated
async def test_a_file_of_any_announced_size_and_time_can_be_looked_at(world: World) -> None:
    device = await world.syncing("a")
    share(world, wire("x", values={"_name": "x", "_file_paths": ["f"]}))
    world.storage.make_folder(f"x/{STAMP}")
    world.storage.files[f"x/{STAMP}/f"] = Lying(b"x", 0)
    await world.go_on(30)
    described = device.vfs.lookup(device.ino("x"), "f")
    assert (described.size, described.mtime_ns) == ((1 << 62) - 1, (1 << 63) - 1)
    with pytest.raises(NoSpace):
        await world.during(functools.partial(device.read, "x/f"))
