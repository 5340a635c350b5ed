"""When versions travel, and what becomes of edits on several devices."""

from __future__ import annotations

from tests.devicekit import World, simulated


@simulated
async def test_smoke(world: World) -> None:
    one = await world.syncing("one")
    two = await world.syncing("two")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"hello")
    await world.go_on(20)
    assert world.stored("Notes") == {"a.txt": b"hello"}
    assert two.names() == ["Notes"]
    assert await two.files("Notes") == {"a.txt": b"hello"}
    await two.set_value("Notes", "x", 1)
    await world.go_on(20)
    assert (await one.values("Notes"))["x"] == 1
    assert world.strays() == set()
