"""Two and three devices, whatever they do in whatever order: in the end all have the same, and no edit is lost.

The existing client may be among them, which overwrites what it never saw.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oaiofs.cache import evict
from oaiofs.core.eviction import NO_LIMITS, Hold, Limits
from oaiofs.sync import Pace
from tests.depth import examples
from tests.devicekit import PACE, SERVER_CALLS, World, simulate
from tests.peerkit import Peer

from .story import LONG, REFUSALS, Story

OBJECTS = ("A", "B")
PATHS = ("f", "g", "d/h")
KEYS = ("k", "l")
CALLS = (*SERVER_CALLS, "list_tree", "put", "copy", "get", "remove")
SETTINGS = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


def ops(
    names: tuple[str, ...] = OBJECTS, *, deleting: bool = True, peer: bool = False, evicting: bool = False
) -> st.SearchStrategy[Any]:
    device = st.integers(0, 2)
    obj = st.sampled_from(names)
    path = st.builds("/".join, st.tuples(obj, st.sampled_from(PATHS)))
    choices = [
        st.tuples(st.just("write"), device, path, st.booleans()),
        st.tuples(st.just("write_long"), device, path),
        st.tuples(st.just("edit_line"), device, path, st.integers(0, LONG // 2)),
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
        st.tuples(st.just("end_conflicts"), device, obj, st.sampled_from(("mine", "theirs", "both"))),
    ]
    if deleting:
        choices.append(st.tuples(st.just("remove_object"), device, obj))
    if peer:
        choices += [
            st.tuples(st.just("peer_value"), obj, st.sampled_from(KEYS)),
            st.tuples(st.just("peer_write"), path),
            st.tuples(st.just("peer_offline"), st.booleans()),
        ]
    if evicting:
        choices += [
            st.tuples(st.just("evict"), device, obj),
            st.tuples(st.just("pin"), device, st.one_of(obj, path), st.booleans()),
        ]
    return st.lists(st.one_of(choices), min_size=3, max_size=25)


async def tell(story: Story, steps: list[tuple[Any, ...]]) -> None:
    """Do what the steps say; a refusal is as good as any other answer."""
    for verb, *arguments in steps:
        if verb == "wait":
            await story.world.go_on(arguments[0])
            continue
        if verb.startswith("peer_"):
            await getattr(story, verb)(*arguments)
            continue
        device = story.devices[arguments[0] % len(story.devices)]
        rest = arguments[1:]
        if verb == "offline":
            device.offline = rest[0]
        elif verb == "let_go":
            story.let_go(device)
        elif verb == "fault":
            device.stumble(rest[0], lost=rest[1])
        else:
            step: Callable[..., Awaitable[None]] = getattr(story, verb)
            try:
                await step(device, *rest)
            except REFUSALS:
                continue


async def tell_whole(story: Story, steps: list[tuple[Any, ...]]) -> None:
    """A story from its first object to the end of all conflicts, with what must be true then."""
    first = story.devices[0]
    await story.make(first, "A")
    await story.set_value(first, "A", "k")
    await story.write(first, "A/f", careful=False)
    await story.world.go_on(14)
    await story.peer_offline(False)
    await tell(story, steps)
    await story.converge()
    await story.check()
    await story.keep_all(first)
    await story.converge()
    await story.check()
    await story.check_no_conflicts()


def _pace(number: int, checks_base: bool) -> Pace:
    """Where the last writer wins, pushes at the very same moment have tests of their own (test_transfer)."""
    return PACE if checks_base else replace(PACE, quiet=PACE.quiet + number * 0.37)


def play(
    count: int, steps: list[tuple[Any, ...]], *, checks_base: bool = True, peer: bool = False, holds: float = 0.0,
    limits: Limits = NO_LIMITS,
) -> None:  # fmt: skip
    async def run(world: World) -> None:
        devices = [await world.syncing(f"d{number}", pace=_pace(number, checks_base)) for number in range(count)]
        for device in devices:
            device.limits = device.eviction.limits = limits
        story = Story(world, devices, Peer(world) if peer else None, doubting=not checks_base)
        await tell_whole(story, steps)
        if limits != NO_LIMITS:
            await world.go_on(60)
            kept = [node for one in devices for key in one.store.heads for node in one.store.attached(key).values()
                    if node.local and not isinstance(evict.look(one.store, node.ino), Hold)]  # fmt: skip
            assert [node for node in kept if node.size] == [], "these had no reason to stay"

    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), run, checks_base=checks_base, holds=holds)


@SETTINGS
@given(ops(deleting=False))
@example([("write", 0, "A/f", False), ("write", 0, "A/g", False), ("rename", 1, "A/f", "A/g")])
def test_two_devices(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps)


#: A file that is sent while a program has it open for writing, and then closed.
SENT_WHILE_OPEN = [("hold", 1, "A/f"), ("wait", 40.0)]


@SETTINGS
@given(ops())
@example(SENT_WHILE_OPEN)
def test_three_devices_that_also_remove_objects(steps: list[tuple[Any, ...]]) -> None:
    play(3, steps)


#: Longer than a story lets time go by at its end: what shows by then does so because a hold told of it.
HOLDS = 55.0


@SETTINGS
@given(ops())
@example(SENT_WHILE_OPEN)
def test_three_devices_on_a_server_that_tells_of_changes(steps: list[tuple[Any, ...]]) -> None:
    play(3, steps, holds=HOLDS)


@SETTINGS
@given(ops(deleting=False, peer=True))
def test_two_devices_and_the_existing_client_on_a_server_that_tells_of_changes(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps, peer=True, holds=HOLDS)


#: Two devices that took turns in undoing what the other one seemed to have done without looking.
TAKING_TURNS = [
    ("write", 0, "A/f", False), ("hold", 0, "A/f"), ("let_go", 0), ("hold", 1, "A/d/h"), ("wait", 5.0),
    ("delete", 0, "B/f"), ("wait", 5.0), ("restart", 1, False), ("let_go", 1), ("restart", 1, True),
    ("restart", 0, False), ("rename", 2, "A/d/h", "A/f"),
]  # fmt: skip


@SETTINGS
@given(ops(deleting=False))
@example(TAKING_TURNS)
@example([("write", 0, "A/f", False), ("write", 0, "A/f", False), ("wait", 12.0), ("write", 1, "A/f", False)])
@example([("write", 0, "A/f", False)] * 3 + [("write", 0, "A/g", False), ("rename", 1, "A/f", "A/g")])
def test_on_a_server_that_takes_the_last_writer(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps, checks_base=False)


@SETTINGS
@given(ops(deleting=False, evicting=True), st.booleans())
def test_devices_that_keep_hardly_anything(steps: list[tuple[Any, ...]], checks_base: bool) -> None:
    """Whatever may go goes at once, and comes back when it is wanted: nothing else is different."""
    play(2, steps, checks_base=checks_base, limits=Limits(kept=1))


#: One device restores what the existing client took back, while the one that wrote it goes on from there.
WRITE = ("write", 0, "A/f", False)
RESTORED_BY_BOTH = [WRITE, WRITE, WRITE, WRITE, ("wait", 12.0), ("peer_value", "A", "k"), WRITE]


@SETTINGS
@given(ops(deleting=False, peer=True))
@example(RESTORED_BY_BOTH)
def test_two_devices_and_the_existing_client(steps: list[tuple[Any, ...]]) -> None:
    play(2, steps, peer=True)


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
