"""A device that sees an account for the first time: what one listing tells is shown at once."""

from __future__ import annotations

from oaiofs.core.model import RemoteObject
from oaiofs.remote.memory import Faults
from tests.devicekit import World, simulated

MANY, WITH_FILES = 150, 6


@simulated
async def test_all_objects_are_shown_after_one_request_and_those_with_files_when_they_are_whole(world: World) -> None:
    one = await world.syncing("one")
    for number in range(MANY):
        one.mkdir(f"{number:03}")
    for number in range(WITH_FILES):
        await one.write(f"{number:03}/a.txt", b"a")
        await one.write(f"{number:03}/b.txt", b"b")
    await world.go_on(60)
    assert len(world.listing()) == MANY

    two = world.device("two")
    two.hosts.faults = Faults(latency=3.0)
    two.start()
    await world.go_on(0.1)
    assert two.names() == [f"{number:03}" for number in range(WITH_FILES, MANY)]
    assert (two.calls["list_objects"], two.calls["list_tree"], two.calls["get"]) == (1, 4, 0)
    shown: set[str] = set()
    for _ in range(70):
        await world.go_on(0.1)
        for name in set(two.names()) - shown:
            shown.add(name)
            files = ["a.txt", "b.txt"] if int(name) < WITH_FILES else []
            assert two.paths(name) == files, "never half a directory"
    assert len(two.names()) == MANY
    assert (two.calls["list_objects"], two.calls["list_tree"], two.calls["get"]) == (1, WITH_FILES, 0)


@simulated
async def test_one_that_can_not_be_shown_keeps_nobody_back(world: World) -> None:
    one = await world.syncing("one")
    for name in ("a", "b", "c"):
        one.mkdir(name)
    await world.go_on(20)
    two = world.device("two")
    spoilt = world.announced("b").oaio_id
    adopt = two.transfer.adopt
    tried: list[RemoteObject] = []

    async def refusing(remote: RemoteObject) -> None:
        if remote.oaio_id == spoilt and len(tried) < 3:
            tried.append(remote)
            raise OSError("no room for this one")
        await adopt(remote)

    two.transfer.adopt = refusing  # type: ignore[method-assign]
    two.start()
    await world.go_on(0.2)
    assert two.names() == ["a", "c"]
    await world.go_on(60)
    assert two.names() == ["a", "b", "c"]
