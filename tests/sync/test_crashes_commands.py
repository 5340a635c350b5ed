"""A kill between every two steps of what commands do to objects: see ``crashkit``."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.crashkit import Run, try_all
from tests.depth import deep
from tests.sync.test_crashes import with_notes

MOST = deep(6, None)


@contextlib.contextmanager
def a_folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "d").mkdir()
        (Path(folder) / "a.txt").write_bytes(b"added")
        (Path(folder) / "d/values.json").write_bytes(b"added too")
        yield folder


async def add_a_folder(run: Run) -> None:
    one = await with_notes(run)
    with a_folder() as folder, run.killing("add"):
        await one.ask("add", source=folder, name="trip")


async def copy_a_folder(run: Run) -> None:
    """Before the object begins to be: what was copied of it is nobody's."""
    one = await with_notes(run)
    with a_folder() as folder, run.killing_in_threads("add"):
        await one.ask("add", source=folder, name="trip")


async def remove_whole(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/new.txt", b"unsent")
    run.confirmed = True
    with run.killing("rm"):
        await one.ask("rm", word=["Notes", None], wipe=True, yes=True)


async def set_a_value(run: Run) -> None:
    one = await with_notes(run)
    with run.killing("set"):
        await one.ask("set", word=["Notes", None], key="two.x", value=[1])
    with run.killing("rename"):
        await one.ask("set", word=["Notes", None], key="_name", value="Renamed")


SCENARIOS = [add_a_folder, copy_a_folder, remove_whole, set_a_value]


@pytest.mark.parametrize("checks_base", [True, False], ids=["checks the base", "takes the last writer"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_killed_between_any_two_steps(scenario: Callable[[Run], Awaitable[None]], checks_base: bool) -> None:
    print(try_all(scenario, checks_base=checks_base, most=MOST), "kills")
