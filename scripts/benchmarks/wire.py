"""Requests and bytes of oaiofs and of the existing client, side by side on one server (--latency=S, --files=N).

Both do the same to objects of the same content, each device behind a counting proxy of its own. Signing in, once for
each run of a client, is shown apart. The request by which oaiofs waits for changes counts where its own change ends it,
and so does the look after that. Seconds are until the server has the version, or until the last answer; those of oaiofs
contain the quiet time of 2 s after a change.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.benchmarks._objects import register_many
from tests.countingproxy import CountingProxy, Exchange, Traffic, counting_proxy
from tests.mountkit import Account, MountKit, wait_for
from tests.realpeer import PeerProcess, peer_python
from tests.serverkit import ServerKit, serving

SIZE = 100_000
_QUIET = 2.0
_NEVER = 3600.0
_LONG = 300.0
_OBJECT = "photos"

REGISTER, VALUE, BYTE, RENAME, TOUCH, IDLE = (
    "register", "change a value", "change one byte", "rename a file", "touch a file", "idle poll",
)  # fmt: skip
LISTING, READ, MANY = "second device: first listing", "… and one file read", "second device: 1,000 objects"


@dataclass(frozen=True)
class Cost:
    """What one row came to for one client."""

    traffic: Traffic
    seconds: float
    exchanges: tuple[Exchange, ...]

    @property
    def listings(self) -> int:
        return sum(one.path == "/api/oaio_stampz/" for one in self.exchanges)

    @property
    def downloads(self) -> int:
        return sum(one.path.endswith("/files/get") for one in self.exchanges)


@dataclass(frozen=True)
class Must:
    """DESIGN.md, *What it must reach*."""

    row: str
    requests: int | None = None
    up: int | None = None
    listings: int | None = None
    downloads: int | None = None

    def missed(self, cost: Cost) -> list[str]:
        seen = {"requests": cost.traffic.requests, "up": cost.traffic.up}
        seen |= {"listings": cost.listings, "downloads": cost.downloads}
        limits = {name: getattr(self, name) for name in seen}
        return [
            f"{self.row}: {seen[name]:,} {name} instead of at most {limit:,}"
            for name, limit in limits.items()
            if limit is not None and seen[name] > limit
        ]


MUSTS = (
    Must(VALUE, requests=6, up=50_000),
    Must(BYTE, requests=10, up=300_000),
    Must(TOUCH, requests=0),
    Must(IDLE, requests=1),
    Must(LISTING, listings=1, downloads=0),
    Must(MANY, listings=1, downloads=0),
)


def missed(costs: dict[str, Cost]) -> list[str]:
    """What of the promises does not hold for *costs*, by row."""
    return [sentence for must in MUSTS if must.row in costs for sentence in must.missed(costs[must.row])]


def measured(proxy: CountingProxy, doing: Callable[[], object]) -> Cost:
    """What goes over the proxy from now until *doing* is done."""
    begun, began = len(proxy.exchanges), time.monotonic()
    doing()
    exchanges = tuple(proxy.since(begun))
    ended = [one.ended for one in exchanges if one.announces] or [one.ended for one in exchanges]
    if exchanges and not any(one.announces for one in exchanges):
        began = exchanges[0].began
    return Cost(Traffic.of(exchanges), max(ended) - began if ended else 0.0, exchanges)


class Device(Protocol):
    """One client that has the object; each call returns when the servers have what it did."""

    proxy: CountingProxy

    def register(self, source: Path) -> None: ...
    def set_value(self) -> None: ...
    def changed(self, path: Path, *, version: bool) -> None: ...
    def poll(self) -> None: ...
    @property
    def folder(self) -> Path: ...


class Ours:
    """A real mount."""

    def __init__(self, kit: MountKit, proxy: CountingProxy) -> None:
        self.kit, self.proxy = kit, proxy
        self.folder = kit.path / _OBJECT

    def _sent(self, begun: int) -> None:
        wait_for(lambda: any(one.announces for one in self.proxy.since(begun)), _LONG, "the new version")
        wait_for(lambda: not self.kit.status()["pending"], _LONG, "the agreement on it")

    def register(self, source: Path) -> None:
        begun = len(self.proxy.exchanges)
        self.folder.mkdir()
        for path in sorted(source.iterdir()):
            shutil.copy(path, self.folder)
        self._sent(begun)

    def set_value(self) -> None:
        begun = len(self.proxy.exchanges)
        sidecar = self.folder / "values.json"
        sidecar.write_text(sidecar.read_text().replace("{", '{"seen": true,', 1))
        self._sent(begun)

    def changed(self, path: Path, *, version: bool) -> None:
        if version:
            self._sent(len(self.proxy.exchanges))
        else:
            time.sleep(2 * _QUIET)  # nothing is to happen: that can only be waited for

    def poll(self) -> None:
        self.kit.sync()


class Theirs:
    """The existing client; it learns of changed files by being told to look at the object's folder."""

    def __init__(self, process: PeerProcess, proxy: CountingProxy, root: Path, account: Account, folder: Path) -> None:
        self.proxy, self.folder = proxy, folder
        self._id = ""
        self._ask = functools.partial(process.ask, root.name)
        self._ask("open", proxy.host, str(root), *account)

    def register(self, source: Path) -> None:
        shutil.copytree(source, self.folder)
        state = self._ask("register", str(self.folder))
        (self._id,) = state["objects"]

    def set_value(self) -> None:
        self._ask("set_value", self._id, "seen", True)
        self.poll()

    def changed(self, path: Path, *, version: bool) -> None:
        self._ask("look", self._id)
        self.poll()

    def poll(self) -> None:
        state = self._ask("sync")
        if state["message"]:
            raise RuntimeError(f"the existing client: {state['message']}")


def changes(device: Device, source: Path) -> dict[str, Cost]:
    """The rows of one device."""
    folder, proxy = device.folder, device.proxy
    one = folder / "file 007"

    def edit() -> None:
        with open(one, "r+b") as file:
            file.seek(SIZE // 2)
            file.write(b"\x01")
        device.changed(one, version=True)

    def rename() -> None:
        (folder / "file 042").rename(folder / "another name")
        device.changed(folder, version=True)

    def touch() -> None:
        os.utime(folder / "file 012")
        device.changed(folder, version=False)

    rows = {
        REGISTER: lambda: device.register(source), VALUE: device.set_value, BYTE: edit, RENAME: rename, TOUCH: touch,
        IDLE: device.poll,
    }  # fmt: skip
    costs = {}
    for row, doing in rows.items():
        if row is not REGISTER:
            device.poll()  # what came of the last change is taken in
        costs[row] = measured(proxy, doing)
    return costs


@contextlib.contextmanager
def _mounted(kit: ServerKit, account: Account, name: str, proxy: CountingProxy) -> Iterator[MountKit]:
    through = ServerKit(proxy.url, kit.data, kit.pid)
    arguments = (f"--storage-url=Digi={proxy.url}",)
    with MountKit(through, account, name, poll=_NEVER, quiet=_QUIET, arguments=arguments, lifetime=2 * _LONG) as mount:
        yield mount


def ours(kit: ServerKit, source: Path, latency: float) -> dict[str, Cost]:
    """All rows of oaiofs."""
    account, crowd = Account(*kit.fresh_user("ours")), Account(*kit.fresh_user("crowd"))
    with counting_proxy(kit.url, latency) as proxy, _mounted(kit, account, "d1", proxy) as mount:
        wait_for(lambda: not mount.status()["pending"])
        costs = changes(Ours(mount, proxy), source)
    with counting_proxy(kit.url, latency) as proxy, contextlib.ExitStack() as stack:

        def listing(who: Account, name: str, there: int) -> MountKit:
            second = stack.enter_context(_mounted(kit, who, name, proxy))
            wait_for(lambda: len(os.listdir(second.path)) == there, _LONG, "all objects")
            return second

        mounts: list[MountKit] = []
        costs[LISTING] = measured(proxy, lambda: mounts.append(listing(account, "d2", 1)))
        read = measured(proxy, (mounts[0].path / _OBJECT / "file 033").read_bytes)
        costs[READ] = _added(costs[LISTING], read)
        mounts[0].stop()
        register_many(kit, crowd, 1000)
        costs[MANY] = measured(proxy, lambda: listing(crowd, "d3", 1000))
    return costs


def theirs(kit: ServerKit, source: Path, work: Path, latency: float) -> dict[str, Cost]:
    """All rows of the existing client."""
    account, crowd = Account(*kit.fresh_user("theirs")), Account(*kit.fresh_user("crowd"))
    process = PeerProcess(peer_python(), work / "peer process")
    try:
        with counting_proxy(kit.url, latency) as proxy:
            device = Theirs(process, proxy, work / "peer1", account, work / "files" / _OBJECT)
            costs = changes(device, source)
        with counting_proxy(kit.url, latency) as proxy:
            costs[LISTING] = measured(proxy, lambda: _first(process, proxy, work / "peer2", account, device.folder))
            costs[READ] = costs[LISTING]
            register_many(kit, crowd, 1000)
            costs[MANY] = measured(proxy, lambda: _first(process, proxy, work / "peer3", crowd, device.folder))
    finally:
        process.close()
    return costs


def _first(process: PeerProcess, proxy: CountingProxy, root: Path, account: Account, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    Theirs(process, proxy, root, account, folder).poll()


def _added(one: Cost, other: Cost) -> Cost:
    exchanges = one.exchanges + other.exchanges
    return Cost(Traffic.of(exchanges), one.seconds + other.seconds, exchanges)


def _table(a: dict[str, Cost], b: dict[str, Cost]) -> Iterator[str]:
    def cell(cost: Cost) -> str:
        traffic = cost.traffic
        signing = f"+{traffic.session}" if traffic.session else ""
        return f"{traffic.requests:>5}{signing:<4} {_kb(traffic.up):>9} {_kb(traffic.down):>9} {cost.seconds:>6.1f}"

    head = f"{'requests':>9} {'kB up':>9} {'kB down':>9} {'s':>6}"
    yield f"{'':<30} {'oaiofs':<36}   {'existing client':<36}   {'ratio: requests, bytes':>22}"
    yield f"{'':<30} {head}   {head}"
    for row, cost in a.items():
        ours_all, theirs_all = cost.traffic, b[row].traffic
        ratios = (
            _ratio(theirs_all.requests, ours_all.requests),
            _ratio(theirs_all.up + theirs_all.down, ours_all.up + ours_all.down),
        )
        yield f"{row:<30} {cell(cost)}   {cell(b[row])}   {ratios[0]:>10} {ratios[1]:>11}"


def _kb(amount: int) -> str:
    return f"{amount / 1000:,.1f}"


def _ratio(theirs_: int, ours_: int) -> str:
    return f"{theirs_ / ours_:,.1f}" if ours_ else "–"


def make_files(folder: Path, files: int, size: int = SIZE) -> Path:
    """*files* files of *size* bytes of text that does not compress to nothing."""
    folder.mkdir()
    dice = random.Random(4)
    for number in range(files):
        (folder / f"file {number:03}").write_bytes(dice.randbytes(size // 2).hex().encode())
    return folder


def main(words: list[str]) -> list[str]:
    parser = ArgumentParser("scripts/bench wire", description=__doc__)
    parser.add_argument("--latency", type=float, action="append", help="seconds for each request (0 and 0.05)")
    parser.add_argument("--files", type=int, default=100, help="files in the object, of 100 kB each (100)")
    parser.add_argument("--requests", action="store_true", help="also list the requests of oaiofs")
    options = parser.parse_args(words)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        source = make_files(Path(folder) / "source", options.files)
        for run, latency in enumerate(options.latency or [0.0, 0.05]):
            work = Path(folder) / str(run)
            work.mkdir()
            with serving(work / "server") as kit:
                a, b = ours(kit, source, latency), theirs(kit, source, work, latency)
            what = f"An object of {options.files} files × {SIZE // 1000} kB"
            print(f"\n{what}, {latency * 1000:g} ms for each request; +N: signing in\n")
            print("\n".join(_table(a, b)))
            if options.requests:
                for row, cost in a.items():
                    seen = Counter(f"{one.method} {one.path} {one.status}" for one in cost.exchanges)
                    print(f"\n{row}:", *(f"{number:>5} × {request}" for request, number in seen.items()), sep="\n")
            failures += [f"{latency * 1000:g} ms: {sentence}" for sentence in missed(a)]
    return failures
