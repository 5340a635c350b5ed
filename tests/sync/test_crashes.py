"""Killed between every two steps of whatever a device does: what was acknowledged is there, and reaches everybody.

Each scenario is run once, and every call that changed the client root or the cloud in it leaves an image of what a
kill at that moment leaves (``tests/crashkit.py``). A few images of each are tried; ``--long`` tries all, each also
with another device that goes on before the killed one is back.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial

import pytest

from oaiofs.core import stamps
from oaiofs.core.eviction import Limits
from oaiofs.core.model import Outgoing
from oaiofs.remote.contract import Source
from tests.crashkit import Run, md5, try_all
from tests.depth import deep
from tests.devicekit import CSH, USER, Device, World

MOST = deep(4, None)


# -- how scenarios begin -------------------------------------------------------------------------------------


async def with_notes(run: Run) -> Device:
    """One device with the object Notes, on the servers."""
    one = run.one = await run.world.syncing("one")
    one.mkdir("Notes")
    one.mkdir("Notes/d")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    await one.write("Notes/d/c.txt", b"third")
    await one.set_value("Notes", "n", 1)
    await run.world.during(partial(one.sync.finish, 300.0))
    return one


async def with_far_notes(run: Run) -> Device:
    """The device has it as placeholders."""
    await with_notes(run)
    await run.one.stop()
    run.one = await run.world.syncing("far")
    run.one.name = "one"
    return run.one


async def changed_elsewhere(run: Run) -> Device:
    """A second device that has announced something new, which device one has not looked at."""
    two = await run.world.syncing("two")
    run.one.offline = True
    return two


async def sent(world: World, device: Device) -> None:
    await world.during(partial(device.sync.finish, 300.0))


async def tracked_write(run: Run, path: str, data: bytes, flags: int = os.O_TRUNC) -> None:
    """Write a file, each call being one that can be interrupted."""
    one = run.one
    if path.endswith("values.json"):
        with run.killing("save"):  # the text is judged at the close, and so after a kill; no text is none
            await one.write(path, data)
        return
    with run.killing("open"):
        handle = await one.open_file(path, os.O_WRONLY | os.O_CREAT | flags)
    with run.killing("write"):
        await one.vfs.files.write(handle, 0, data)
    with run.killing("fsync"):
        await one.vfs.files.fsync(handle)
    with run.killing("close"):
        one.close_file(handle)


# -- what users do -------------------------------------------------------------------------------------------


async def make_an_object(run: Run) -> None:
    await with_notes(run)
    with run.killing("mkdir"):
        run.one.mkdir("New")


async def make_folders(run: Run) -> None:
    await with_notes(run)
    with run.killing("mkdir"):
        run.one.mkdir("Notes/e")
    with run.killing("mkdir"):
        run.one.mkdir("Notes/e/f")
    with run.killing("rmdir"):
        run.one.rmdir("Notes/e/f")


async def write_a_new_file(run: Run) -> None:
    await with_notes(run)
    await tracked_write(run, "Notes/new.txt", b"new")


async def overwrite_a_file(run: Run) -> None:
    await with_notes(run)
    await tracked_write(run, "Notes/a.txt", b"overwritten")


async def write_into_a_file(run: Run) -> None:
    await with_notes(run)
    await tracked_write(run, "Notes/a.txt", b"F", flags=0)


async def empty_a_placeholder(run: Run) -> None:
    await with_far_notes(run)
    await tracked_write(run, "Notes/a.txt", b"overwritten")


async def save_by_rename(run: Run) -> None:
    one = await with_notes(run)
    await tracked_write(run, "Notes/.save~", b"saved")
    with run.killing("rename"):
        await one.rename("Notes/.save~", "Notes/a.txt")


async def save_over_unsent_bytes(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/a.txt", b"unsent")
    run.replaced |= {md5(b"unsent")}
    await one.write("Notes/.save~", b"saved")
    with run.killing("rename"):
        await one.rename("Notes/.save~", "Notes/a.txt")


async def save_over_a_placeholder(run: Run) -> None:
    one = await with_far_notes(run)
    await one.write("Notes/.save~", b"saved")
    with run.killing("rename"):
        await one.rename("Notes/.save~", "Notes/a.txt")


async def save_the_sidecar(run: Run) -> None:
    await with_notes(run)
    await tracked_write(run, "Notes/values.json", b'{"_name": "Notes", "n": 2, "k": [1.0]}')


async def save_half_a_sidecar(run: Run) -> None:
    one = await with_notes(run)
    handle = await one.open_file("Notes/values.json", os.O_WRONLY | os.O_TRUNC)
    with run.killing("write"):
        await one.vfs.files.write(handle, 0, b'{"_name": "No')


async def save_the_sidecar_by_rename(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/.save~", b'{"_name": "Notes", "n": 3}')
    with run.killing("rename"):
        await one.rename("Notes/.save~", "Notes/values.json")


async def save_an_attached_file_as_the_sidecar(run: Run) -> None:
    """A file that is on the servers, and so as clean as can be, becomes the sidecar."""
    one = await with_notes(run)
    await one.write("Notes/more.json", b'{"_name": "Notes", "n": 4}')
    await sent(run.world, one)
    with run.killing("rename"):
        await one.rename("Notes/more.json", "Notes/values.json")


async def rename_the_object_in_its_sidecar(run: Run) -> None:
    await with_notes(run)
    await tracked_write(run, "Notes/values.json", b'{"_name": "Other", "n": 1}')


async def rename_an_object(run: Run) -> None:
    one = await with_notes(run)
    with run.killing("rename"):
        await one.rename("Notes", "Other")


async def rename_files(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/b.txt", b"unsent")
    with run.killing("rename, clean"):
        await one.rename("Notes/a.txt", "Notes/d/renamed.txt")
    with run.killing("rename, unsent"):
        await one.rename("Notes/b.txt", "Notes/renamed.txt")


async def rename_over_a_clean_file(run: Run) -> None:
    one = await with_notes(run)
    run.replaced |= {md5(b"second")}
    with run.killing("rename"):
        await one.rename("Notes/a.txt", "Notes/b.txt")


async def rename_placeholders(run: Run) -> None:
    one = await with_far_notes(run)
    await one.read("Notes/b.txt")
    run.replaced |= {md5(b"second")}
    with run.killing("rename"):
        await one.rename("Notes/d/c.txt", "Notes/c.txt")
    with run.killing("rename over a local file"):
        await one.rename("Notes/a.txt", "Notes/b.txt")


async def rename_a_folder(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/d/new.txt", b"unsent")
    with run.killing("rename"):
        await one.rename("Notes/d", "Notes/e")


async def rename_a_folder_over_an_empty_one(run: Run) -> None:
    one = await with_notes(run)
    one.mkdir("Notes/e")
    with run.killing("rename"):
        await one.rename("Notes/d", "Notes/e")


async def move_to_another_object(run: Run) -> None:
    one = await with_notes(run)
    one.mkdir("Other")
    with run.killing("rename"):
        await one.rename("Notes/a.txt", "Other/a.txt")
    with run.killing("push"):
        await sent(run.world, one)


async def remove_files(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/b.txt", b"unsent")
    run.replaced |= {md5(data) for data in (b"first", b"second", b"unsent")}
    with run.killing("unlink, clean"):
        one.unlink("Notes/a.txt")
    with run.killing("unlink, unsent"):
        one.unlink("Notes/b.txt")


async def remove_the_sidecar(run: Run) -> None:
    one = await with_notes(run)
    run.appears = {"Notes/values": '{"_name": "Notes", "n": 1}'}
    with run.killing("unlink"):
        one.unlink("Notes/values.json")
    await run.world.go_on(5)
    with run.killing("look"):
        one.ino("Notes/values.json")


async def remove_an_object(run: Run) -> None:
    one = await with_notes(run)
    one.unlink("Notes/a.txt")
    one.unlink("Notes/b.txt")
    one.unlink("Notes/d/c.txt")
    one.rmdir("Notes/d")
    run.confirmed = True
    run.appears = {"Notes/d": "directory"}  # made again for what goes to the trash with the object
    with run.killing("rmdir"):
        one.rmdir("Notes")


# -- what goes out -------------------------------------------------------------------------------------------


async def register(run: Run) -> None:
    one = run.one = await run.world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    one.mkdir("Notes/d")
    await one.write("Notes/d/c.txt", b"third")
    with run.killing("push"):
        await sent(run.world, one)


async def push_everything(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/a.txt", b"edited")
    await one.rename("Notes/d/c.txt", "Notes/renamed.txt")
    await one.write("Notes/new.txt", b"new")
    one.unlink("Notes/b.txt")
    await one.set_value("Notes", "n", 2)
    with run.killing("push"):
        await sent(run.world, one)


async def push_a_value(run: Run) -> None:
    one = await with_notes(run)
    await one.set_value("Notes", "n", 2)
    with run.killing("push"):
        await sent(run.world, one)


async def push_what_comes_too_late(run: Run) -> None:
    """Another device has announced something else: the version is given up, merged and made anew."""
    one = await with_notes(run)
    two = await changed_elsewhere(run)
    await one.write("Notes/a.txt", b"mine")
    await two.write("Notes/b.txt", b"theirs")
    run.replaced |= {md5(b"second")}
    await sent(run.world, two)
    one.offline = False
    with run.killing("push"):
        await sent(run.world, one)


async def delete_on_the_server(run: Run) -> None:
    one = await with_notes(run)
    await one.remove_object("Notes")
    run.confirmed = True
    with run.killing("delete"):
        await run.world.during(partial(one.sync.finish, 300.0, confirmed=True))


# -- what comes in -------------------------------------------------------------------------------------------


async def pulled(run: Run) -> None:
    run.one.offline = False
    with run.killing("pull"):
        await sent(run.world, run.one)


async def pull_everything(run: Run) -> None:
    await with_notes(run)
    two = await changed_elsewhere(run)
    await two.write("Notes/a.txt", b"edited")
    await two.rename("Notes/d/c.txt", "Notes/e.txt")
    two.unlink("Notes/b.txt")
    two.mkdir("Notes/f")
    await two.write("Notes/f/g.txt", b"new")
    await two.set_value("Notes", "n", 2)
    await two.rename("Notes", "Other")
    run.replaced |= {md5(b"first"), md5(b"second"), "folder"}
    await sent(run.world, two)
    await pulled(run)


async def pull_a_file_where_a_folder_was(run: Run) -> None:
    one = await with_notes(run)
    one.mkdir("Notes/d/empty")
    two = await changed_elsewhere(run)
    two.unlink("Notes/d/c.txt")
    two.rmdir("Notes/d")
    await two.write("Notes/d", b"a file now")
    run.replaced |= {md5(b"third"), "directory"}
    await sent(run.world, two)
    await pulled(run)


async def pull_a_folder_where_a_file_was(run: Run) -> None:
    await with_notes(run)
    two = await changed_elsewhere(run)
    two.unlink("Notes/a.txt")
    two.mkdir("Notes/a.txt")
    await two.write("Notes/a.txt/inside", b"inside")
    run.replaced |= {md5(b"first")}
    await sent(run.world, two)
    await pulled(run)


async def pull_conflicts(run: Run) -> None:
    one = await with_notes(run)
    two = await changed_elsewhere(run)
    await one.write("Notes/a.txt", b"mine")
    await one.set_value("Notes", "n", "mine")
    await two.write("Notes/a.txt", b"theirs")
    await two.set_value("Notes", "n", "theirs")
    run.conflicts = 2
    await sent(run.world, two)
    await pulled(run)


async def pull_a_file_called_like_the_sidecar(run: Run) -> None:
    await with_notes(run)
    run.one.offline = True
    was, files = run.world.announced("Notes"), run.world.stored("Notes")
    host, session = run.world.cloud.storage(), run.world.cloud.session(USER, device_id="of another kind")
    stamp = stamps.after(was.stamp, run.world.now())
    for path, data in {**files, "values.json": b"not ours"}.items():
        await host.put(f"{was.oaio_id}/{stamp}/{path}", in_one(data), len(data), 0)
    await session.upload(
        Outgoing(
            oaio_id=was.oaio_id, stamp=stamp, base=was.stamp, values={**was.values, "n": 7},
            file_paths=(*files, "values.json"), base_values=was.values, base_file_paths=tuple(files), csh_id=CSH,
            right=was.right, dialect=was.dialect,
        )
    )  # fmt: skip
    await pulled(run)


def in_one(data: bytes) -> Source:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    return chunks


async def pull_under_a_program(run: Run) -> None:
    """A program has the file open and writes: its bytes are displaced, and become a conflict copy when it ends."""
    one = await with_notes(run)
    two = await changed_elsewhere(run)
    await two.write("Notes/a.txt", b"theirs")
    await sent(run.world, two)
    handle = await one.open_file("Notes/a.txt")
    one.offline = False
    run.replaced |= {md5(b"first")}
    run.conflicts = 1
    with run.killing("pull"):
        await sent(run.world, one)
    with run.killing("write"):
        await one.vfs.files.write(handle, 0, b"MINE!")
    with run.killing("close"):
        one.close_file(handle)
    (copy,) = [path for path in one.paths("Notes") if "conflict" in path]
    run.appears = {f"Notes/{copy}": md5(b"MINE!")}


async def adopt_a_new_object(run: Run) -> None:
    await with_notes(run)
    two = await changed_elsewhere(run)
    two.mkdir("New")
    two.mkdir("New/d")
    await two.write("New/d/x.txt", b"new")
    await sent(run.world, two)
    await pulled(run)


async def an_object_leaves(run: Run) -> None:
    await with_notes(run)
    two = await changed_elsewhere(run)
    await two.remove_object("Notes")
    run.confirmed = True
    run.replaced |= {"object", "directory"}
    await run.world.during(partial(two.sync.finish, 300.0, confirmed=True))
    run.one.offline = False
    with run.killing("leave"):
        await run.world.during(partial(run.one.sync.finish, 300.0, confirmed=True))


async def download(run: Run) -> None:
    one = await with_far_notes(run)
    with run.killing("read"):
        await run.world.during(partial(one.read, "Notes/a.txt"))


# -- what is here and what is not ----------------------------------------------------------------------------


async def evict_everything(run: Run) -> None:
    """One of the files has an edit that nobody else has."""
    one = await with_notes(run)
    one.offline = True
    await one.write("Notes/b.txt", b"unsent")
    with run.killing("evict"):
        answer = await one.ask("evict", paths=[["Notes", None]])
    assert answer["files"] == 2
    one.offline = False


async def evict_by_itself_and_read_again(run: Run) -> None:
    one = await with_notes(run)
    one.eviction.limits = Limits(kept=4096)
    with run.killing("evict"):
        await run.world.during(one.eviction.tend)
    with run.killing("read"):
        await run.world.during(partial(one.read, "Notes/a.txt"))


async def evict_what_is_being_sent(run: Run) -> None:
    """Evictions in between all steps of a push."""
    one = await with_notes(run)
    one.eviction.limits = Limits(kept=1)
    await one.write("Notes/a.txt", b"edited")
    await one.rename("Notes/d/c.txt", "Notes/renamed.txt")
    with run.killing("push and evict"):
        await sent(run.world, one)
        await run.world.go_on(40)


async def pin_far_files(run: Run) -> None:
    one = await with_far_notes(run)
    with run.killing("pin"):
        await one.ask("pin", paths=[["Notes/d", None], ["Notes/a.txt", None]])
        await run.world.go_on(5)
    assert all(one.store.node(one.ino(f"Notes/{path}")).local for path in ("a.txt", "d/c.txt"))
    with run.killing("rename what is pinned"):
        await one.rename("Notes/d", "Notes/e")
    with run.killing("unpin"):
        await one.ask("unpin", paths=[["Notes", None]])


# -- beginning and ending ------------------------------------------------------------------------------------


async def end_in_order(run: Run) -> None:
    one = await with_notes(run)
    await one.write("Notes/a.txt", b"unsent")
    with run.killing("end"):
        await one.stop()


SCENARIOS = [
    one
    for name, one in list(globals().items())
    if getattr(one, "__module__", "") == __name__ and hasattr(one, "__annotations__")
    and one.__annotations__ == {"run": "Run", "return": "None"} and name != "pulled"
]  # fmt: skip


@pytest.mark.parametrize("checks_base", [True, False], ids=["checks the base", "takes the last writer"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_killed_between_any_two_steps(scenario: object, checks_base: bool) -> None:
    print(try_all(scenario, checks_base=checks_base, most=MOST), "kills")  # type: ignore[arg-type]
