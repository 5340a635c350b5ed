"""Many small files in one object, and many objects: how long until all is settled, and who has to wait meanwhile.

``waits`` are those of a look-up in the mount that the kernel can't answer by itself, made over and over meanwhile: the
longest tells how long the mount was busy with something else. (--files=N, 10000; --objects=N, 1000)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.benchmarks._objects import register_many
from tests import memory
from tests.countingproxy import CountingProxy, Traffic, counting_proxy
from tests.memory import MIB
from tests.mountkit import Account, MountKit, wait_for
from tests.serverkit import ServerKit, serving

_LONG = 3600.0
_MOST = 64 * MIB
_EVERY = 0.01


class Waits:
    """How long look-ups in *folder* take, made every few milliseconds while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.seconds: list[float] = []
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        number = 0
        while not self._ended.wait(_EVERY):
            number += 1
            began = time.perf_counter()
            os.path.lexists(self._folder / f"missing {number}")
            self.seconds.append(time.perf_counter() - began)

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        if not ordered:
            return "–"
        most, usual = ordered[-1], ordered[len(ordered) * 99 // 100]
        return f"99 % ≤ {usual * 1000:.0f} ms, longest {most * 1000:.0f} ms"


@contextlib.contextmanager
def measured(what: str, mount: MountKit, idle: int, proxy: CountingProxy, missed: list[str]) -> Iterator[None]:
    """Print what happens in the block; too much memory is *missed*."""
    assert mount.process is not None
    memory.begin_peak(mount.process.pid)
    begun, began = len(proxy.exchanges), time.monotonic()
    with Waits(mount.path) as waits:
        yield
    seconds = time.monotonic() - began
    grown = memory.peak(mount.process.pid) - idle
    traffic = Traffic.of(proxy.since(begun))
    print(
        f"{what:<36} {seconds:>7.1f} s {traffic.requests:>7,} requests  {grown / MIB:>+5.0f} MiB   waits: {waits}",
        flush=True,
    )
    if grown > _MOST:
        missed.append(f"{what}: {grown / MIB:.0f} MiB above idle instead of {_MOST / MIB:.0f}")


@contextlib.contextmanager
def _mounted(kit: ServerKit, account: Account, name: str, proxy: CountingProxy) -> Iterator[tuple[MountKit, int]]:
    through = ServerKit(proxy.url, kit.data, kit.pid)
    arguments = (f"--storage-url=Digi={proxy.url}",)
    with MountKit(through, account, name, quiet=1.0, poll=5.0, arguments=arguments, lifetime=_LONG) as mount:
        wait_for(lambda: mount.status()["online"])
        assert mount.process is not None
        yield mount, memory.resident(mount.process.pid)


def _files(kit: ServerKit, number: int, missed: list[str]) -> None:
    account = Account(*kit.fresh_user("files"))
    with counting_proxy(kit.url) as proxy, _mounted(kit, account, "d1", proxy) as (mount, idle):
        folder = mount.path / "many"

        def settled() -> None:
            while mount.status()["pending"]:
                time.sleep(0.5)

        folder.mkdir()
        settled()
        with measured(f"{number:,} files written", mount, idle, proxy, missed):
            for one in range(number):
                if one % 100 == 0:
                    (folder / f"{one // 100}").mkdir()
                (folder / f"{one // 100}" / f"file {one}").write_bytes(f"this is file {one}".encode() * 10)
        with measured("… sent", mount, idle, proxy, missed):
            settled()
        with measured("one of them changed", mount, idle, proxy, missed):
            (folder / "0" / "file 7").write_bytes(b"changed")
            wait_for(lambda: mount.status()["pending"])
            settled()
        with measured("a tenth of them removed", mount, idle, proxy, missed):
            for part in range(max(1, number // 1000)):
                shutil.rmtree(folder / str(part))
            wait_for(lambda: mount.status()["pending"])
            settled()
    left = number - 100 * max(1, number // 1000) + 1

    def all_there(mount: MountKit) -> bool:
        return sum(len(names) for _, _, names in os.walk(mount.path / "many")) == left

    _listed(kit, account, f"{left - 1:,} files listed elsewhere", all_there)


def _listed(kit: ServerKit, account: Account, what: str, all_there: Callable[[MountKit], bool]) -> int:
    """Print how long a new device takes, from the beginning of its mount; how many files it downloaded."""
    with counting_proxy(kit.url) as proxy:
        began = time.monotonic()
        with _mounted(kit, account, "d2", proxy) as (mount, _idle):
            wait_for(lambda: all_there(mount), _LONG, what)
            traffic = Traffic.of(proxy.exchanges)
            print(f"{what:<36} {time.monotonic() - began:>7.1f} s {traffic.requests:>7,} requests", flush=True)
        return sum(one.path.endswith("/files/get") for one in proxy.exchanges)


def _objects(kit: ServerKit, number: int, files: int, missed: list[str]) -> None:
    account = Account(*kit.fresh_user("objects"))
    register_many(kit, account, number, files=files)
    what = f"{number:,} objects with {files} files" if files else f"{number:,} objects"
    downloads = _listed(kit, account, what, lambda mount: len(os.listdir(mount.path)) == number)
    if downloads:
        missed.append(f"{what}: {downloads} files downloaded for their listing")


def main(words: list[str]) -> list[str]:
    parser = ArgumentParser("scripts/bench many", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=1000)
    options = parser.parse_args(words)
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as kit:
        if options.files:
            _files(kit, options.files, missed)
        if options.objects:
            _objects(kit, options.objects, 0, missed)
            _objects(kit, options.objects, 1, missed)
    return missed
