"""Conflicts on several devices: seen by all of them, ended by any, and gone from all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oaiofs import errors
from oaiofs.cache import records
from oaiofs.core.model import Right
from tests.devicekit import Device, World, share, simulated, simulated_foreign
from tests.sync.stories import two_with_notes

ENOUGH = 90.0  # seconds in which everything settles


async def in_conflict(world: World) -> tuple[Device, Device]:
    """Both changed a.txt, and *one* was the first."""
    one, two = await two_with_notes(world)
    await one.write("Notes/a.txt", b"of one\nsame\n")
    await world.go_on(3)
    await two.write("Notes/a.txt", b"of two\nsame\n")
    await world.go_on(ENOUGH)
    return one, two


async def told(device: Device, *words: str, **arguments: Any) -> list[dict[str, Any]]:
    answer = await device.ask("conflicts", words=[[word, None] for word in words], **arguments)
    return list(answer["conflicts"])


async def end(device: Device, keep: str, *words: str) -> list[dict[str, Any]]:
    answer = await device.ask("resolve", words=[[word, None] for word in words], all=not words, keep=keep)
    return list(answer["resolved"])


def ever_stored(world: World) -> set[bytes]:
    return {file.content for file in world.storage.files.values()}


# ---------------------------------------------------------------------------------------------------- of files


@simulated
async def test_a_conflict_of_a_file_is_shown_on_every_device(world: World) -> None:
    one, two = await in_conflict(world)
    three = await world.syncing("three")
    seen = [await told(device) for device in (one, two, three)]
    known = [[(entry["object"], entry["path"], entry["device"]) for entry in found] for found in seen]
    assert known == 3 * [[("Notes", "a.txt", "two")]]
    assert len({found[0]["id"] for found in seen}) == 1
    assert [found[0]["here"] for found in seen] == [False, True, False]
    for device in (one, two, three):
        assert device.status.whole()["conflicts"] == 1
        assert device.state("Notes") == "conflict"
        assert device.status.whole()["objects"][0]["state"] == "conflict"
        assert device.status.conflicts()["conflicts"] == await told(device)


@simulated
async def test_both_sides_and_what_they_were_made_from_are_shown(world: World) -> None:
    one, two = await in_conflict(world)
    (here,) = await told(two, texts=True)
    assert here["texts"] == {"mine": "of two\nsame\n"}, "theirs is not here yet"
    (here,) = await told(two, show=True)
    assert here["texts"] == {"mine": "of two\nsame\n", "theirs": "of one\nsame\n", "base": "first"}
    assert here["base"]["size"] == 5
    assert here["base"]["place"].startswith("Digi/")
    assert [here[side]["size"] for side in ("mine", "theirs")] == [12, 12]
    one.offline = True
    await world.go_on(20)
    (there,) = await told(one, show=True)
    assert there["base"] is None
    assert there["texts"] == {"theirs": "of one\nsame\n"}
    assert "not on this machine yet" in there["missing"]["mine"]


@simulated
async def test_what_is_no_small_text_is_not_shown(world: World) -> None:
    one, two = await two_with_notes(world)
    for path, data in (("a.txt", b"\xff\xfe"), ("b.txt", b"x" * 70_000)):
        await one.write(f"Notes/{path}", data + b"1")
        await world.go_on(3)
        await two.write(f"Notes/{path}", data + b"2")
        await world.go_on(ENOUGH)
    assert [entry["texts"] for entry in await told(one, show=True)] == [{}, {}]


@pytest.mark.parametrize("ended_by", ["one", "two", "three"])
@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("mine", {"a.txt": b"of two\nsame\n"}),
        ("theirs", {"a.txt": b"of one\nsame\n"}),
        ("both", {"a.txt": b"of one\nsame\n", "a (two).txt": b"of two\nsame\n"}),
    ],
)
def test_it_is_ended_by_any_device_and_gone_from_all(
    tmp_path: Path, keep: str, left: dict[str, bytes], ended_by: str
) -> None:
    @simulated
    async def story(world: World) -> None:
        one, two = await in_conflict(world)
        three = await world.syncing("three")
        device = world.devices[ended_by]
        versions = world.versions("Notes")
        device.announced.clear()
        (ended,) = await end(device, keep, "Notes")
        assert {name for _, name in device.announced} >= {ended["copy"]}
        assert await told(device) == []
        await world.go_on(ENOUGH)
        assert world.versions("Notes") == versions + 1
        for each in (one, two, three):
            assert await each.files("Notes") == {**left, "b.txt": b"second"}
            assert await told(each) == []
            assert each.status.whole()["conflicts"] == 0
            assert each.conflicts() == [], "nothing is kept of it"
        assert world.stored("Notes") == {**left, "b.txt": b"second"}
        assert ever_stored(world) >= {b"of one\nsame\n", b"of two\nsame\n"}

    story(tmp_path=tmp_path)


@pytest.mark.parametrize("keeps", list(itertools.product(["mine", "theirs", "both"], repeat=2)))
@pytest.mark.parametrize("kind", [simulated, simulated_foreign])
def test_two_devices_end_it_at_once(
    tmp_path: Path, keeps: tuple[str, str], kind: Callable[..., Callable[..., None]]
) -> None:
    @kind
    async def story(world: World) -> None:
        one, two = await in_conflict(world)
        three = await world.syncing("three")
        await world.go_on(2 * ENOUGH)
        for device in (one, two):
            device.offline = True
        for device, keep in zip((one, two), keeps, strict=True):
            await end(device, keep)
        one.offline = False
        await world.go_on(7)
        two.offline = False
        await world.go_on(2 * ENOUGH)
        contents = [await device.files("Notes") for device in (one, two, three)]
        assert contents[0] == contents[1] == contents[2] == world.stored("Notes")
        expected = b"of two\nsame\n" if "mine" in keeps else b"of one\nsame\n"
        assert contents[0]["a.txt"] == expected
        assert contents[0].get("a (two).txt") == (b"of two\nsame\n" if "both" in keeps else None)
        for device in (one, two, three):
            assert await told(device) == [], "ending a conflict makes none"
        assert ever_stored(world) >= {b"of one\nsame\n", b"of two\nsame\n"}

    story(tmp_path=tmp_path)


@simulated
async def test_it_is_ended_offline_and_before_the_copy_was_ever_sent(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.write("Notes/a.txt", b"of one")
    await world.go_on(20)
    await two.files("Notes")
    two.hosts.faults.fail("put", errors.ServerFault("no uploads today"), times=1000)
    await one.write("Notes/a.txt", b"of one again")
    await world.go_on(3)
    await two.write("Notes/a.txt", b"of two")
    await world.go_on(20)
    assert len(await told(two)) == 1
    assert await told(one) == [], "the copy has not been sent"
    two.offline = True
    await end(two, "theirs")
    kept = [path.read_bytes() for path in (two.root / "trash").rglob("a (conflict two *")]
    assert kept == [b"of two"], "nobody else has it"
    two.offline = False
    two.hosts.faults.scripted.clear()
    await world.go_on(10 * ENOUGH)
    assert await two.files("Notes") == world.stored("Notes") == {"a.txt": b"of one again", "b.txt": b"second"}


@simulated
async def test_who_edits_the_copy_meanwhile_keeps_it(world: World) -> None:
    one, two = await in_conflict(world)
    (entry,) = await told(two)
    await one.files("Notes")
    one.offline = True
    await one.write(f"Notes/{entry['copy']}", b"edited by one")
    await end(two, "theirs")
    await world.go_on(20)
    one.offline = False
    await world.go_on(ENOUGH)
    for device in (one, two):
        assert (await device.files("Notes"))[entry["copy"]] == b"edited by one"
        assert [e["id"] for e in await told(device)] == [entry["id"]]


@simulated
async def test_who_edits_the_name_meanwhile_has_a_new_conflict_and_only_that(world: World) -> None:
    one, two = await in_conflict(world)
    await one.files("Notes")
    one.offline = True
    await one.write("Notes/a.txt", b"edited by one")
    await end(two, "mine")
    await world.go_on(20)
    one.offline = False
    await world.go_on(2 * ENOUGH)
    for device in (one, two):
        (entry,) = await told(device)
        assert (entry["path"], entry["device"]) == ("a.txt", "one")
        found = await device.files("Notes")
        assert found == {"a.txt": b"of two\nsame\n", entry["copy"]: b"edited by one", "b.txt": b"second"}


@simulated
async def test_a_conflict_of_a_conflict_copy_is_ended_from_the_outside_in(world: World) -> None:
    one, two = await in_conflict(world)
    (entry,) = await told(one)
    for device in (one, two):
        await device.files("Notes")
    await one.write(f"Notes/{entry['copy']}", b"the copy, by one")
    await world.go_on(3)
    await two.write(f"Notes/{entry['copy']}", b"the copy, by two")
    await world.go_on(ENOUGH)
    assert [e["path"] for e in await told(one)] == [entry["copy"], "a.txt"]
    ended = await end(one, "mine")
    assert [e["path"] for e in ended] == [entry["copy"], "a.txt"]
    await world.go_on(ENOUGH)
    for device in (one, two):
        assert await device.files("Notes") == {"a.txt": b"the copy, by two", "b.txt": b"second"}
        assert await told(device) == []


@simulated
async def test_a_lost_copy_may_be_renamed_or_removed_by_hand_on_any_device(world: World) -> None:
    one, two = await in_conflict(world)
    (entry,) = await told(one)
    await one.rename(f"Notes/{entry['copy']}", "Notes/kept.txt")
    await world.go_on(ENOUGH)
    for device in (one, two):
        assert await told(device) == []
        assert device.conflicts() == []
    one.unlink("Notes/a.txt")
    await one.rename("Notes/kept.txt", f"Notes/{entry['copy']}")
    await world.go_on(ENOUGH)
    for device in (one, two):
        (again,) = await told(device)
        assert (again["id"], again["theirs"]) == (entry["id"], None), "the lost name may be gone"


@simulated
async def test_who_may_only_read_sees_it_and_ends_nothing(world: World) -> None:
    one, two = await in_conflict(world)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    assert len(await told(bob)) == 1
    for keep in ("mine", "theirs", "both"):
        with pytest.raises(errors.AccessDenied, match="you may only read Notes"):
            await end(bob, keep)
    await end(two, "mine")
    await world.go_on(ENOUGH)
    assert await told(bob) == await told(one) == []


# --------------------------------------------------------------------------------------------------- of values


async def with_lost_values(world: World) -> tuple[Device, Device]:
    one, two = await two_with_notes(world)
    await one.set_value("Notes", "list", [1])
    await world.go_on(ENOUGH)
    await one.set_value("Notes", "k", {"x": "of one"})
    await one.set_value("Notes", "list", [2])
    await world.go_on(3)
    await two.set_value("Notes", "k", {"x": "of two"})
    await two.set_value("Notes", "list", [3])
    await world.go_on(ENOUGH)
    return one, two


@simulated
async def test_a_lost_value_is_shown_where_it_lost_and_ended_there(world: World) -> None:
    one, two = await with_lost_values(world)
    assert await told(one) == []
    found = await told(two)
    assert [(e["key"], e.get("base"), e["mine"], e["theirs"], e["device"]) for e in found] == [
        ("k.x", None, "of two", "of one", "two"),
        ("list", [1], [3], [2], "two"),
    ]
    assert "base" not in found[0]
    await two.restart(clean=False)
    assert await told(two) == found
    await end(two, "mine", found[0]["id"])
    await end(two, "both", "Notes/values.json")
    await world.go_on(ENOUGH)
    for device in (one, two):
        assert await device.values("Notes") == {"_name": "Notes", "k": {"x": "of two"}, "list": [2, 3]}
        assert await told(device) == []
        assert device.state("Notes") in ("synced", "online-only")


@simulated
async def test_a_later_change_elsewhere_is_shown_against_it_and_the_same_value_ends_it(world: World) -> None:
    one, two = await with_lost_values(world)
    await one.set_value("Notes", "k", {"x": "later"})
    await world.go_on(ENOUGH)
    assert [(e["mine"], e["theirs"]) for e in await told(two)] == [("of two", "later"), ([3], [2])]
    await one.set_value("Notes", "k", "no object any more")
    await world.go_on(ENOUGH)
    assert "theirs" not in (await told(two))[0]
    with pytest.raises(errors.UsageError, match=r"k\.x can't be set"):
        await end(two, "mine")
    assert len(await told(two)) == 2, "all or nothing"
    await one.set_value("Notes", "k", {"x": "of two"})
    await one.set_value("Notes", "list", [3])
    await world.go_on(ENOUGH)
    assert await told(two) == []


@simulated
async def test_two_devices_that_lost_the_same_value_end_it_at_once(world: World) -> None:
    one, two = await two_with_notes(world)
    three = await world.syncing("three")
    devices = (one, two, three)
    for device in devices:
        device.offline = True
        await device.set_value("Notes", "k", f"of {device.name}")
    for device in devices:
        device.offline = False
        await world.go_on(20)
    await world.go_on(ENOUGH)
    assert [[e["mine"] for e in await told(device)] for device in devices] == [[], ["of two"], ["of three"]]
    for device in (two, three):
        device.offline = True
        await end(device, "mine")
    for device in (two, three):
        device.offline = False
        await world.go_on(20)
    await world.go_on(ENOUGH)
    values = [await device.values("Notes") for device in devices]
    assert values == 3 * [{"_name": "Notes", "k": "of two"}]
    assert [[e["mine"] for e in await told(device)] for device in devices] == [[], [], ["of three"]], "a new conflict"


# --------------------------------------------------------------------------------------------- which are meant


@simulated
async def test_conflicts_are_named_by_id_object_or_path(world: World) -> None:
    one, two = await two_with_notes(world, "Other")
    two.mkdir("Other/sub")
    await two.write("Other/sub/c.txt", b"first")
    await world.go_on(ENOUGH)
    await one.files("Other")
    for path in ("Notes/a.txt", "Other/sub/c.txt"):
        await one.write(path, b"of one")
    await one.set_value("Notes", "k", 1)
    await world.go_on(3)
    for path in ("Notes/a.txt", "Other/sub/c.txt"):
        await two.write(path, b"of two")
    await two.set_value("Notes", "k", 2)
    await world.go_on(ENOUGH)
    of_a, of_k, of_c = (entry["id"] for entry in sorted(await told(two), key=lambda e: (e["object"], e["kind"])))
    copy = (await told(two, of_c))[0]["copy"]

    async def ids(*words: list[str | None]) -> list[str]:
        return [entry["id"] for entry in (await two.ask("conflicts", words=list(words)))["conflicts"]]

    for words, meant in (
        ([], [of_a, of_c, of_k]),
        ([[of_a, None]], [of_a]),
        ([[of_a[:5].upper(), None]], [of_a]),
        ([["Notes", None]], [of_a, of_k]),
        ([[two.id("Other"), None]], [of_c]),
        ([["Notes/values.json", None]], [of_k]),
        ([["Other/sub", None]], [of_c]),
        ([[f"Other/{copy}", None]], [of_c]),
        ([["c.txt", "Other/sub/c.txt"]], [of_c]),
        ([["Other", "Notes/Other"]], [of_c]),
        ([["whatever", ""]], [of_a, of_c, of_k]),
        ([["Notes/b.txt", None]], []),
        ([["Other", None], [of_c, None], [of_k, None]], [of_c, of_k]),
    ):
        assert sorted(await ids(*words)) == sorted(meant), words
    for word in ("nothing", "Notes/nothing", of_a[:3], "", "/"):
        with pytest.raises(errors.NotFound, match="is no conflict, object or path here"):
            await ids([word, None])
    for arguments in ({"words": ["x"]}, {"words": [[1, 2]]}, {"words": 5}):
        with pytest.raises(errors.UsageError):
            await two.ask("conflicts", **arguments)


@simulated
async def test_what_is_not_said_clearly_is_refused_before_anything_is_done(world: World) -> None:
    one, two = await with_lost_values(world)
    before = records.conflicts(two.store.db), await two.values("Notes")
    for arguments in ({"keep": "mine"}, {"keep": "yours", "all": True}, {"keep": None, "all": True}, {"all": True}):
        with pytest.raises(errors.UsageError):
            await two.ask("resolve", **arguments)
    with pytest.raises(errors.UsageError, match="only two lists can be joined"):
        await end(two, "both")
    assert (records.conflicts(two.store.db), await two.values("Notes")) == before
    assert await end(one, "both") == [], "nothing to end is no error with --all"
