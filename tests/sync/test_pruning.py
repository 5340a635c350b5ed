"""Which old versions may be removed, and what keeps the others."""

from __future__ import annotations

from typing import Any

from oaiofs.vfs.history import top_ino
from tests.devicekit import Device, World, simulated
from tests.sync.oldversions import ask, stamps, two_versions


async def many_versions(world: World, number: int) -> Device:
    one = await world.syncing("one")
    one.mkdir("Notes")
    for count in range(number):
        await one.write("Notes/a.txt", b"%d" % count)
        await world.go_on(10)
    return one


@simulated
async def test_pruning_keeps_the_newest_the_young_and_what_is_needed(world: World) -> None:
    one = await many_versions(world, 6)
    all_of = stamps(world)
    assert len(all_of) == 6
    assert (await ask(world, one, "prune", "Notes", keep=2, days=30))["would_remove"] == [], "they are young"
    one.skew = 365 * 86_400.0
    ahead = await ask(world, one, "prune", "Notes", keep=2, days=30)
    assert ahead["would_remove"] == [], "whatever this machine's clock says"
    one.skew = 0.0
    plan = await ask(world, one, "prune", "Notes", keep=2, days=0)
    assert [entry["stamp"] for entry in plan["would_remove"]] == all_of[:4]
    assert plan["bytes"] == 4
    assert stamps(world) == all_of, "nothing is removed without a word"
    one.offline = True
    await ask(world, one, "restore", "Notes", version=all_of[1])  # its bytes are to come from there
    one.offline = False
    done = await ask(world, one, "prune", "Notes", keep=2, days=0, yes=True, stamps=[*all_of[:3], all_of[5]])
    assert [entry["stamp"] for entry in done["removed"]] == [all_of[0], all_of[2]]
    assert (top_ino(one.store.by_name["Notes"]), all_of[0]) in one.announced
    await world.go_on(30)
    assert world.stored("Notes") == {"a.txt": b"1"}
    told = await ask(world, one, "versions", "Notes")
    assert [entry["stamp"] for entry in told["versions"]] == sorted(stamps(world), reverse=True)


@simulated
async def test_what_is_restored_while_others_go_stays(world: World) -> None:
    one = await many_versions(world, 4)
    all_of = stamps(world)
    one.hosts.faults.latency = 1.0
    removed: list[dict[str, Any]] = []

    async def prune() -> None:
        removed.append(await one.ask("prune", word=["Notes", "Notes"], keep=1, days=0, yes=True))

    world.nursery.start_soon(prune)
    while not one.hosts.faults.calls["remove"]:
        await world.go_on(0.1)
    await one.ask("restore", word=["Notes", "Notes"], version=all_of[1])
    await world.go_on(30)
    assert [entry["stamp"] for entry in removed[0]["removed"]] == [all_of[0], all_of[2]]
    assert world.stored("Notes") == {"a.txt": b"1"}


@simulated
async def test_pruning_never_touches_the_announced_version_nor_another_devices_last(world: World) -> None:
    one, two = await two_versions(world)
    await two.write("Notes/a.txt", b"by two")
    await world.go_on(20)
    of_two = world.announced("Notes").stamp
    await two.stop()
    for count in range(3):
        await one.write("Notes/a.txt", b"%d" % count)
        await world.go_on(20)
    announced = world.announced("Notes").stamp
    done = await ask(world, one, "prune", "Notes", keep=1, days=0, yes=True)
    assert len(done["removed"]) == 4
    assert stamps(world) == [of_two, announced]


@simulated
async def test_pruning_when_another_device_has_just_announced(world: World) -> None:
    one = await many_versions(world, 3)
    two = await world.syncing("two")
    await two.write("Notes/a.txt", b"newer")
    await world.go_on(3)
    assert len(stamps(world)) == 4
    plan = await ask(world, one, "prune", "Notes", keep=1, days=0)
    assert world.announced("Notes").stamp not in [entry["stamp"] for entry in plan["would_remove"]]
    assert one.base("Notes") not in [entry["stamp"] for entry in plan["would_remove"]]
