"""How many of the sync's stories begin."""

from __future__ import annotations

from tests.devicekit import Device, World


async def two_with_notes(world: World, *more: str) -> tuple[Device, Device]:
    """Two devices with the object Notes, and the objects *more*."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    for name in more:
        one.mkdir(name)
    await world.go_on(20)
    assert two.names() == sorted(["Notes", *more])
    await two.files("Notes")
    one.forget_calls()
    two.forget_calls()
    return one, two


async def two_with_a_number(world: World) -> tuple[Device, Device]:
    """Two devices that both have the object Notes with two files, downloaded, and a value."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    await one.set_value("Notes", "n", 1)
    await world.go_on(14)
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    one.forget_calls()
    two.forget_calls()
    return one, two
