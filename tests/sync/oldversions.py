"""An object of two versions on two devices, and what is asked of old versions."""

from __future__ import annotations

import os
from typing import Any

from tests.devicekit import Device, World

OLD = {"a.txt": b"first\n", "d/deep.bin": b"\0" * 1000}
NEW = {"a.txt": b"second\n", "new.txt": b"added\n"}


async def two_versions(world: World) -> tuple[Device, Device]:
    """Two devices with an object of two versions."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    one.mkdir("Notes/d")
    for path, data in OLD.items():
        await one.write(f"Notes/{path}", data)
    await one.set_value("Notes", "x", [1, 2])
    await world.go_on(20)
    one.unlink("Notes/d/deep.bin")
    one.rmdir("Notes/d")
    for path, data in NEW.items():
        await one.write(f"Notes/{path}", data)
    await one.write("Notes/values.json", b'{"_name": "Notes", "y": 1}')
    await world.go_on(20)
    assert world.stored("Notes") == NEW
    return one, two


def stamps(world: World, name: str = "Notes") -> list[str]:
    """The stored versions of the object, oldest first."""
    oaio_id = world.announced(name).oaio_id
    return sorted({path.split("/")[1] for path in world.storage.files if path.startswith(oaio_id)})


async def ask(world: World, device: Device, verb: str, word: str, **arguments: Any) -> dict[str, Any]:
    """What a command gets, while time goes on."""
    answers: list[dict[str, Any]] = []

    async def asking() -> None:
        answers.append(await device.ask(verb, word=[word, word], **arguments))

    await world.during(asking)
    return answers[0]


async def shown(device: Device, stamp: str, name: str = "Notes") -> dict[str, bytes]:
    """All files below OBJECT/.versions/STAMP."""
    tree = device.vfs.history
    found: dict[str, bytes] = {}

    async def walk(ino: int, prefix: str) -> None:
        for entry, last in (await tree.listing(ino)).entries:
            attributes = await tree.getattr(entry)
            assert (await tree.lookup(ino, last)) == attributes
            if attributes.mode & 0o40000:
                await walk(entry, f"{prefix}{last}/")
            else:
                descriptor = await tree.open(entry, os.O_RDONLY)
                found[prefix + last] = os.pread(descriptor, 1 << 20, 0)
                os.close(descriptor)
                assert len(found[prefix + last]) == attributes.size

    top = device.vfs.lookup(device.ino(name), ".versions").ino
    await walk((await tree.lookup(top, stamp)).ino, "")
    return found
