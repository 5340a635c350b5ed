"""Large files and many small ones in real mounts: memory stays flat, nothing travels twice.

``scripts/bench large`` and ``many`` are the same at full size.
"""

from __future__ import annotations

import os

from scripts.benchmarks import large
from tests import memory
from tests.countingproxy import counting_proxy
from tests.depth import deep
from tests.memory import MIB
from tests.mountkit import Account, Cloud, MountKit, needs_fuse, wait_for
from tests.serverkit import ServerKit

pytestmark = needs_fuse

SIZE = deep(96, 1024) * MIB
#: A copy of the file in memory would show; what else grows in between is less.
FLAT = 40 * MIB
FILES = deep(300, 5000)


def test_a_large_file_goes_up_and_down_without_being_held_in_memory(
    oaio_server: ServerKit, d1: MountKit, d2: MountKit
) -> None:
    one, two = d1, d2
    (one.path / "film").mkdir()
    one.sync()
    wait_for(lambda: "film" in os.listdir(two.path))
    processes = {"server": oaio_server.pid}
    processes |= {kit.device_id: kit.process.pid for kit in (one, two) if kit.process is not None}
    idle = {name: memory.begin_peak(pid) for name, pid in processes.items()}
    md5 = large.write_file(one.path / "film" / "film.bin", SIZE)
    one.sync(90)
    two.sync(30)
    assert large.read_file(two.path / "film" / "film.bin") == md5
    grown = {name: memory.peak(pid) - idle[name] for name, pid in processes.items()}
    assert all(one < FLAT for one in grown.values()), grown


def test_many_small_files_settle_and_memory_stays_flat(oaio_server: ServerKit, account: Account, cloud: Cloud) -> None:
    expected = {f"{number // 100}/file {number}": f"this is file {number}".encode() for number in range(FILES)}
    with counting_proxy(oaio_server.url) as proxy:
        through = ServerKit(proxy.url, oaio_server.data, oaio_server.pid)
        arguments = (f"--storage-url=Digi={proxy.url}",)
        with MountKit(through, account, poll=60.0, arguments=arguments) as one:
            folder = one.path / "many"
            folder.mkdir()
            one.sync()
            assert one.process is not None
            idle = memory.begin_peak(one.process.pid)
            for path, data in expected.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_bytes(data)
            one.sync(90)
            assert memory.peak(one.process.pid) - idle < FLAT
            puts = [seen for seen in proxy.exchanges if seen.path.endswith("/files/put") and seen.status == 200]
            assert len(puts) == FILES, "each file is sent once"
            begun = len(proxy.exchanges)
            (folder / "0" / "file 7").write_bytes(b"changed")
            one.sync(90)
            # Listings don't count: one that was held before may be answered late, for the announcement before it.
            steps = [seen.path for seen in proxy.since(begun) if seen.path != "/api/oaio_stampz/"]
            assert len(steps) <= 4, f"a copy, a file, a check, an announcement: {steps}"
    remote = cloud.objects()["many"]
    newest = {
        path.partition("/")[2]: data
        for path, data in cloud.stored(remote).items()
        if path.partition("/")[0] == remote.stamp
    }
    assert newest == expected | {"0/file 7": b"changed"}
