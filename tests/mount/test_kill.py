"""kill -9 of a real mount at any moment, again and again: every byte that fsync acknowledged is there, and arrives.

A witness (``witness.py``) works in the mount and keeps a manifest elsewhere. 8 kills, or 200 with ``--long``. The
seed is printed; ``OAIOFS_SEED`` sets it (the moments of the kills are the system's, all else is the seed's).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from oaiofs.core.model import RemoteObject
from tests.depth import deep
from tests.mountkit import REPOSITORY, Cloud, MountKit, MountMaker, needs_fuse, tree, wait_for, wait_same

from .witness import OBJECTS, Change, Manifest, State

pytestmark = needs_fuse

KILLS = deep(8, 200)
KILLS_IN_DOWNLOADS = deep(4, 40)
DEAD_MOUNT = "was left by a mount that was killed"
#: Killed between the row of a new file and the file itself, which nobody had been told of. Real losses: ``check``.
NOT_YET_MADE = "is gone from the working copy"
SEED = int(os.environ.get("OAIOFS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
#: Seconds that a mount waits before it pushes: never while the witness is at work, or as soon as it can.
PATIENT, EAGER = "--quiet-time=60", "--quiet-time=0.02"


@contextmanager
def witness(kit: MountKit, manifest: Manifest, seed: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program at work in the mount; the block is to kill the mount, which ends it."""
    words = [sys.executable, "-m", "tests.mount.witness", str(kit.path), str(manifest.path), seed]
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
            assert process.wait(20) == 0, "the witness met another error than that of a dead mount"
        finally:
            process.kill()


def unsent(client_root: Path, scratch: Path) -> tuple[int, int]:
    """How many objects of a killed mount have something unsent, and how many a version on its way."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for file in client_root.glob("state.db*"):
        shutil.copy(file, scratch)  # to be read without a word written to the original
    db = sqlite3.connect(scratch / "state.db")
    try:
        count = "SELECT total(local_seq > settled_seq), total(pending IS NOT NULL) FROM object"
        dirty, pending = db.execute(count).fetchone()
    finally:
        db.close()
    return int(dirty), int(pending)


def seen(folder: Path) -> State:
    """What is in the mount, as a manifest tells it; editors' own files left out."""
    state: State = {}
    for path, content in tree(folder).items():
        if path.endswith("/values.json"):
            state[path] = json.loads(content or b"{}").get("witness", "")
        elif "/" not in path:
            state[path] = ""
        elif content is not None and not path.endswith(".swp"):
            state[path] = content.decode()
    return state


def came_to(state: State, begun: Change, found: State) -> Change:
    """What the change that was begun has come to: it happened, it did not, or of an append a part is there."""
    before: Change = {path: state.get(path) for path in begun}
    now: Change = {path: found.get(path) for path in begun}
    if now in (before, begun):
        return now
    ((path, there),) = now.items()
    assert there is not None, f"{path} is gone"
    assert there.startswith(before[path] or ""), f"{path} lost something acknowledged"
    assert (begun[path] or "").startswith(there), f"{path} has something never written"
    return now


def check(manifest: Manifest, folder: Path) -> int:
    """Everything acknowledged is there, byte for byte, and nothing else; how many files and values were compared."""
    state, begun = manifest.expected()
    found = seen(folder)
    if begun:
        manifest.found(came_to(state, begun, found))
        state, _ = manifest.expected()
    both = ((path, state.get(path), found.get(path)) for path in {*state, *found})
    differing = [one for one in both if one[1] != one[2]]
    assert not differing, f"(path, acknowledged, there): {differing}"
    return len(state)


def on_the_servers(cloud: Cloud) -> State:
    state: State = {}
    objects: dict[str, RemoteObject] = cloud.objects()
    for name, remote in objects.items():
        state |= {name: "", f"{name}/values.json": str(remote.values.get("witness", ""))}
        state |= {f"{name}/{path}": content.decode() for path, content in cloud.version(remote).items()}
    return state


def test_every_byte_that_was_acknowledged_survives_and_arrives(
    new_mount: MountMaker, cloud: Cloud, tmp_path: Path
) -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    manifest = Manifest(tmp_path / "manifest")
    kit = new_mount("d1", start=False)
    kit.expect(DEAD_MOUNT, NOT_YET_MADE)
    compared = queued = under_way = 0

    def goes_on(least: int) -> bool:
        return manifest.acknowledged() >= least

    for number in range(KILLS):
        patient = number % 2 == 0
        kit.start(PATIENT if patient else EAGER)
        compared += check(manifest, kit.path)
        with witness(kit, manifest, f"{SEED} {number}"):
            enough = manifest.acknowledged() + chance.randint(1, 30)
            wait_for(partial(goes_on, enough), 60, "the witness's work")
            kit.kill()
        dirty, pending = unsent(kit.client_root, tmp_path / "scratch")
        assert dirty or not patient, "nothing was waiting to be sent at the kill"
        queued, under_way = queued + bool(dirty), under_way + bool(pending)
    kit.start("--quiet-time=0.2")
    compared += check(manifest, kit.path)
    kit.sync(60)
    compared += check(manifest, kit.path)
    state, _ = manifest.expected()
    assert on_the_servers(cloud) == state
    status = kit.status()
    assert (status["pending"], status["conflicts"], status["errors"]) == (0, 0, [])
    assert {one["state"] for one in status["objects"]} == {"synced"}
    assert set(cloud.objects()) <= set(OBJECTS)
    print(
        f"{KILLS} kills survived, {queued} of them with unsent changes, {under_way} in the middle of a push; "
        f"{manifest.acknowledged()} changes acknowledged, {compared} files and values compared, nothing lost"
    )


def read_all(folder: Path) -> None:
    """Read every file: each is downloaded by that. Ends when the mount is killed."""
    for path in sorted(folder.rglob("*.txt")):
        path.read_bytes()


def test_killed_while_versions_come_in(new_mount: MountMaker, cloud: Cloud) -> None:
    """A second device dies in the middle of taking over versions and of downloads: no half file, nothing sent back."""
    print("seed", SEED)
    chance = random.Random(SEED)
    d1, d2 = new_mount("d1", quiet=60, lifetime=600), new_mount("d2", start=False)
    d2.expect(DEAD_MOUNT, NOT_YET_MADE)
    place = d1.path / "shared"
    (place / "d").mkdir(parents=True)
    downloads = 0

    def has_come(least: int) -> bool:
        return len(local_files(d2.client_root)) >= least

    for number in range(KILLS_IN_DOWNLOADS):
        for name in chance.sample([f"{folder}{letter}.txt" for folder in ("", "d/") for letter in "abcdefgh"], 6):
            (place / name).write_text(f"{number} of {name}\n" * chance.choice((1, 1000, 40_000)))
        if number % 3 == 2:
            victim = chance.choice(sorted(place.rglob("*.txt")))
            victim.rename(victim.with_name(f"{victim.stem}+.txt"))
        d1.sync()
        d2.start("--poll-interval=0.1")
        with ThreadPoolExecutor() as readers:
            reading = readers.submit(read_all, d2.path)
            begun = len(local_files(d2.client_root))
            patience = chance.choice((0, 1, 3, 8))
            with suppress(AssertionError):  # all of them may have come before the kill
                wait_for(partial(has_come, begun + patience), 2)
            d2.kill()
            with suppress(OSError):
                reading.result(20)
        downloads += len(local_files(d2.client_root)) - begun
    d2.start()
    d2.sync()
    wait_same(lambda: tree(d2.path), tree(d1.path))
    cloud_now = cloud.version(cloud.objects()["shared"])
    assert {path.removeprefix("shared/"): data for path, data in tree(d2.path).items()
            if path.endswith(".txt")} == cloud_now  # fmt: skip
    assert not [path for path in cloud_now if "conflict" in path]
    assert len(cloud.stamps("shared")) == KILLS_IN_DOWNLOADS, "only what the first device did is a version"
    assert unsent(d2.client_root, d2.folder / "scratch") == (0, 0)
    print(f"{KILLS_IN_DOWNLOADS} kills survived, with {downloads} files downloaded in between")


def local_files(client_root: Path) -> list[Path]:
    """The attached files whose bytes are in a client root."""
    return list((client_root / "objects").rglob("*.txt")) if client_root.exists() else []
