"""One large file up and down again: time, and memory of the mounts and of the server (--size=MIB, 2048)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import memory
from tests.memory import MIB
from tests.mountkit import Account, MountKit, wait_for
from tests.serverkit import serving

_MOST = 64 * MIB  # above idle: DESIGN.md, issue 4
_LONG = 3600.0
_BLOCK = MIB


class Step:
    """One line: how long it took, and the peak of memory of each process above what it had when idle."""

    def __init__(self, size: int, idle: dict[str, tuple[int, int]]) -> None:
        self._size, self._idle = size, idle
        self.missed: list[str] = []

    @contextlib.contextmanager
    def measured(self, what: str, whose: str) -> Iterator[None]:
        for pid, _ in self._idle.values():
            memory.begin_peak(pid)
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        above = {name: memory.peak(pid) - idle for name, (pid, idle) in self._idle.items()}
        told = ", ".join(f"{name} {grown / MIB:+.0f} MiB" for name, grown in above.items())
        print(f"{what:<28} {seconds:>7.1f} s {self._size / MIB / seconds:>7.0f} MiB/s   {told}", flush=True)
        if above[whose] > _MOST:
            self.missed.append(f"{what}: {above[whose] / MIB:.0f} MiB above idle instead of {_MOST / MIB:.0f}")


def write_file(path: Path, size: int) -> str:
    """Make a file of *size* random bytes; its md5."""
    dice, digest = random.Random(2), hashlib.md5(usedforsecurity=False)
    with open(path, "wb") as file:
        for _ in range(size // _BLOCK):
            block = dice.randbytes(_BLOCK)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def read_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def settled(mount: MountKit) -> Callable[[], bool]:
    return lambda: not mount.status()["pending"]


def main(words: list[str]) -> list[str]:
    parser = ArgumentParser("scripts/bench large", description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB (2048)")
    size = parser.parse_args(words).size * MIB
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as kit:
        account = Account(*kit.fresh_user("large"))
        with MountKit(kit, account, "d1", quiet=1.0, lifetime=_LONG) as one:
            (one.path / "film").mkdir()
            wait_for(settled(one))
            with MountKit(kit, account, "d2", quiet=1.0, lifetime=_LONG) as two:
                wait_for(lambda: "film" in os.listdir(two.path))
                kits = {"writer": one.process, "reader": two.process}
                pids = {name: process.pid for name, process in kits.items() if process} | {"server": kit.pid}
                idle = {name: (pid, memory.resident(pid)) for name, pid in pids.items()}
                print("idle:", ", ".join(f"{name} {rss / MIB:.0f} MiB" for name, (_, rss) in idle.items()), flush=True)
                step = Step(size, idle)
                with step.measured("written into the mount", "writer"):
                    md5 = write_file(one.path / "film" / "film.bin", size)
                with step.measured("sent", "writer"):
                    wait_for(lambda: one.status()["pending"] > 0)
                    wait_for(settled(one), _LONG, "the new version")
                wait_for((two.path / "film" / "film.bin").exists, 60)
                with step.measured("read on the second device", "reader"):
                    assert read_file(two.path / "film" / "film.bin") == md5, "other bytes came"
                with step.measured("one byte more, sent again", "writer"):
                    with open(one.path / "film" / "film.bin", "ab") as file:
                        file.write(b"x")
                    wait_for(lambda: one.status()["pending"] > 0)
                    wait_for(settled(one), _LONG, "the new version")
                with step.measured("a value changed", "writer"):
                    sidecar = one.path / "film" / "values.json"
                    sidecar.write_text(sidecar.read_text().replace("{", '{"seen": true,', 1))
                    wait_for(lambda: one.status()["pending"] > 0)
                    wait_for(settled(one), _LONG, "the new version")
        return step.missed
