"""Large files are read in a real mount while they come over real HTTP, from a host that holds back what it is told."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faultproxy import Fault, ThreadedProxy, proxy_in_thread
from tests.mountkit import PATIENCE, Account, MountKit, mounting, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused
from .trees import waits_for_mount

pytestmark = needs_fuse

MIB = 1 << 20
SIZE = 24 * MIB
#: Less seconds than a server that says nothing is waited for: 30.
SHORTER = 25.0
#: Outages are told.
OUTAGE = (r"WARNING oaiofs\.sync\.watch: offline: ", r"WARNING oaiofs\.sync: \w+ of ")


@pytest.fixture
def proxy(oaio_server: ServerKit) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(oaio_server.url) as proxy:
        yield proxy


@pytest.fixture
def content() -> bytes:
    return random.Random(4).randbytes(SIZE)


@pytest.fixture
def near(oaio_server: ServerKit, account: Account, content: bytes) -> Iterator[MountKit]:
    """A device that has made an object with a large file, ``film/film.bin``."""
    with mounting(oaio_server, account) as make:
        kit = make("near")
        (kit.path / "film").mkdir()
        (kit.path / "film" / "film.bin").write_bytes(content)
        kit.sync()
        yield kit


@pytest.fixture
def far(oaio_server: ServerKit, proxy: ThreadedProxy, account: Account, near: MountKit) -> Iterator[MountKit]:
    """A device whose network is the proxy, and that has nothing of the large file."""
    with mounting(ServerKit(proxy.url, oaio_server.data, oaio_server.pid), account) as make:
        kit = make("far")
        wait_for((kit.path / "film").exists)
        yield kit


@pytest.fixture
def held(proxy: ThreadedProxy) -> Fault:
    """Of the large file as a whole no more than 2 MiB come, until it is released."""
    return proxy.add("held", "GET", "*/files/get", after=2 * MIB, whole=True)


def local(kit: MountKit) -> list[int]:
    """Sizes of the large file's local copy: [] while it is not here."""
    return [path.stat().st_size for path in (kit.client_root / "objects").rglob("film.bin")]


def film(kit: MountKit) -> Path:
    return kit.path / "film" / "film.bin"


def test_what_has_come_is_read_while_the_rest_is_on_its_way(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    before = film(far).stat()
    with open(film(far), "rb", buffering=0) as file:
        assert os.fstat(file.fileno()).st_size == SIZE
        assert file.read(MIB) == content[:MIB]
        assert local(far) == []
        with ThreadPoolExecutor() as others:
            rest = others.submit(file.readall)
            other = others.submit(film(far).read_bytes)
            proxy.release(held)
            assert rest.result(PATIENCE) == content[MIB:]
            assert other.result(PATIENCE) == content
        wait_same(lambda: local(far), [SIZE])
        assert os.pread(file.fileno(), 100, 5 * MIB) == content[5 * MIB : 5 * MIB + 100]
    after = film(far).stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    assert proxy.gets == [("film.bin", "")], "one request for all of them"
    assert os.listdir(far.client_root / "staging") == []


def test_the_end_of_a_large_file_needs_no_more_than_a_range(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    tail = subprocess.run(["tail", "-c", "1000", film(far)], capture_output=True, timeout=SHORTER, check=True).stdout
    assert tail == content[-1000:]
    assert local(far) == []
    ranges = [part for _, part in proxy.gets if part]
    assert len(ranges) <= 2, ranges
    with open(film(far), "rb", buffering=0) as file:  # on from the middle: windows, each larger than the last
        file.seek(8 * MIB)
        assert file.read(12 * MIB) == content[8 * MIB : 20 * MIB]
    assert len(proxy.gets) - 1 - len(ranges) <= 5, proxy.gets
    proxy.release(held)
    assert film(far).read_bytes() == content
    assert [part for _, part in proxy.gets].count("") == 1


MAPPING = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    sys.stdout.buffer.write(mapped[:1000] + mapped[12 << 20 : (12 << 20) + 1000])
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.buffer.write(mapped[:])
"""


def test_mapped_into_memory(far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes) -> None:
    words = [sys.executable, "-c", MAPPING, str(film(far))]  # elsewhere: who waits for a page here holds the proxy up
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.read(2000) == content[:1000] + content[12 * MIB : 12 * MIB + 1000]
        proxy.release(held)
        assert program.communicate(b"go on\n", PATIENCE)[0] == content


def test_who_writes_waits_for_all_of_it(far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes) -> None:
    with ThreadPoolExecutor() as others, open(film(far), "rb", buffering=0) as reader:
        assert reader.read(1000) == content[:1000]
        writing = others.submit(os.open, film(far), os.O_RDWR)
        assert local(far) == []
        assert not writing.done()
        proxy.release(held)
        descriptor = writing.result(PATIENCE)
        os.pwrite(descriptor, b"mine", 0)
        os.close(descriptor)
        assert os.pread(reader.fileno(), 4, 0) == b"mine", "one file for both, as on a disk"
    assert film(far).read_bytes() == b"mine" + content[4:]


WAITING_PYTHON = """
import os, sys
try:
    file = open(sys.argv[1], "rb", buffering=0)
    file.read(1000)
    print("reading", flush=True)
    os.pread(file.fileno(), 1000, 3 << 20)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_is_ended_while_it_waits_ends_at_once(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes, number: signal.Signals
) -> None:
    words = [sys.executable, "-c", WAITING_PYTHON, str(film(far))]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as program, open(film(far), "rb") as other:
        assert program.stdout is not None
        assert program.stdout.readline() == b"reading\n"
        wait_for(lambda: waits_for_mount(program.pid), what="the read")
        program.send_signal(number)
        code = program.wait(SHORTER)
        assert (code, program.stdout.read()) == {
            signal.SIGINT: (0, b"interrupted\n"), signal.SIGKILL: (-signal.SIGKILL, b"")
        }[number]  # fmt: skip
        proxy.release(held)
        assert other.read() == content
    assert proxy.gets == [("film.bin", "")]


def test_bytes_that_fail_their_checksum_are_nobodys(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    flipped = proxy.add("flipped", "GET", "*/files/get", times=1, whole=True)
    before = film(far).stat().st_ino
    with open(film(far), "rb", buffering=0) as file:
        assert file.read(MIB) == content[:MIB]
        proxy.release(held)
        wait_for(lambda: film(far).stat().st_ino != before, what="another inode")
        wait_same(lambda: refuses(file.fileno(), 0), errno.EIO)  # what the kernel had of it is forgotten
        assert refuses(file.fileno(), 20 * MIB) == errno.EIO
        assert local(far) == []
        proxy.faults.remove(flipped)
        assert film(far).read_bytes() == content
        assert refuses(file.fileno(), 0) == errno.EIO
    assert os.listdir(far.client_root / "staging") == []


def refuses(descriptor: int, offset: int) -> int:
    try:
        os.pread(descriptor, 1000, offset)
    except OSError as error:
        return error.errno or -1
    return 0


def test_who_copies_all_of_a_spoilt_file_hears_of_it(far: MountKit, proxy: ThreadedProxy, tmp_path: Path) -> None:
    proxy.add("flipped", "GET", "*/files/get", whole=True)
    copied = subprocess.run(["cp", film(far), tmp_path], capture_output=True, text=True, check=False)
    assert copied.returncode == 1
    assert "Input/output error" in copied.stderr


def test_offline_in_the_middle(far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes) -> None:
    far.expect(*OUTAGE)
    with open(film(far), "rb", buffering=0) as file:
        assert file.read(MIB) == content[:MIB]
        # What is still on its way is lost with the connection.
        wait_same(lambda: [one["done"] for one in far.status()["transfers"]], [2 * MIB])
        with proxy.gone():
            wait_same(lambda: far.status()["online"], False)
            wait_same(lambda: refuses(file.fileno(), 16 * MIB), errno.ENETUNREACH)
            assert os.pread(file.fileno(), 100, MIB // 2) == content[MIB // 2 : MIB // 2 + 100]
        proxy.faults.remove(held)
        begun = len(proxy.gets)
        wait_same(lambda: far.status()["online"], True)
        assert file.readall() == content[MIB:]
    begins = [int(part.removeprefix("bytes=")[:-1]) for _, part in proxy.gets[begun:] if part.endswith("-")]
    assert begins, "the rest was asked for at once, whatever else was read in windows meanwhile"
    assert min(begins) >= 2 * MIB, "taken up where it was"


def test_a_cut_connection_is_taken_up_where_it_was(far: MountKit, proxy: ThreadedProxy, content: bytes) -> None:
    proxy.add("cut_body", "GET", "*/files/get", times=3)
    assert film(far).read_bytes() == content
    assert len(proxy.gets) == 4
    starts = [int(part.removeprefix("bytes=").rstrip("-") or 0) for _, part in proxy.gets]
    assert starts == sorted(set(starts)), "never from the beginning again"


def test_the_mount_ends_in_the_middle(far: MountKit, held: Fault, content: bytes) -> None:
    with ThreadPoolExecutor() as others:
        file = os.open(film(far), os.O_RDONLY)
        assert os.pread(file, 1000, 0) == content[:1000]
        waiting = others.submit(refuses, file, 3 * MIB)
        far.stop()
        assert waiting.result(SHORTER) in (errno.EINTR, errno.ENOTCONN, errno.ECONNABORTED)
        refused(errno.ENOTCONN, lambda: os.close(file))
    assert local(far) == []
    far.start()
    assert os.listdir(far.client_root / "staging") == []


def test_killed_in_the_middle_nothing_is_taken_for_complete(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    far.expect("was left by a mount that was killed")
    file = os.open(film(far), os.O_RDONLY)
    assert os.pread(file, 1000, 0) == content[:1000]
    assert os.pread(file, 1000, SIZE - 1000) == content[-1000:]
    far.kill()
    refused(errno.ENOTCONN, lambda: os.close(file))
    assert len(os.listdir(far.client_root / "staging")) == 1
    proxy.faults.remove(held)
    far.start()
    assert os.listdir(far.client_root / "staging") == []
    assert local(far) == []
    assert film(far).read_bytes() == content


def test_replaced_unlinked_renamed_in_the_middle(
    near: MountKit, far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    with open(film(far), "rb", buffering=0) as file:
        assert file.read(MIB) == content[:MIB]
        film(near).write_bytes(b"another version")
        near.sync()
        far.sync()
        assert film(far).read_bytes() == b"another version"
        assert os.pread(file.fileno(), 1000, 12 * MIB) == content[12 * MIB : 12 * MIB + 1000]
        film(far).unlink()
        assert os.fstat(file.fileno()).st_size == SIZE
        proxy.release(held)
        assert file.readall() == content[MIB:]
    assert local(far) == []


def test_removed_in_the_middle(
    near: MountKit, far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    near.expect(r"WARNING oaiofs\.sync\.watch: The server no longer lists 1 of 1 objects")
    with open(film(far), "rb", buffering=0) as file:
        assert file.read(MIB) == content[:MIB]
        film(far).rename(film(far).with_name("moved.bin"))
        film(far).with_name("moved.bin").unlink()
        assert os.fstat(file.fileno()).st_size == SIZE
        film(far).parent.rmdir()
        proxy.release(held)
        assert file.readall() == content[MIB:]
    assert local(far) == []


def test_emptied_in_the_middle(far: MountKit, held: Fault, content: bytes) -> None:
    with open(film(far), "rb", buffering=0) as file, ThreadPoolExecutor() as others:
        assert file.read(1000) == content[:1000]
        waiting = others.submit(os.pread, file.fileno(), 1000, 3 * MIB)
        film(far).write_bytes(b"new")
        assert waiting.result(SHORTER) == b""
        assert os.pread(file.fileno(), 100, 0) == b"new"
    assert film(far).read_bytes() == b"new"


def test_what_is_not_there_is_refused_at_open(
    far: MountKit, proxy: ThreadedProxy
) -> None:
    gone = proxy.add("status", "GET", "*/files/get", status=404)
    refused(errno.EIO, lambda: open(film(far), "rb").close())
    gone.status = 403
    refused(errno.EACCES, lambda: open(film(far), "rb").close())
    proxy.faults.remove(gone)
    far.expect(*OUTAGE)
    with proxy.gone():
        wait_same(lambda: far.status()["online"], False)
        refused(errno.ENETUNREACH, lambda: open(film(far), "rb").close())


def test_a_host_that_knows_no_ranges_spoils_nothing(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    proxy.add("unranged", "GET", "*/files/get")
    with open(film(far), "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 1000, SIZE - 1000) == content[-1000:]
        assert os.pread(file.fileno(), 1000, 12 * MIB + 7) == content[12 * MIB + 7 : 12 * MIB + 1007]
        proxy.release(held)
    assert film(far).read_bytes() == content
    assert proxy.injected["unranged"] >= 2


def test_a_large_file_that_was_only_looked_into_is_given_up(
    far: MountKit, proxy: ThreadedProxy, held: Fault, content: bytes
) -> None:
    staging = far.client_root / "staging"
    head = subprocess.run(["head", "-c", "1000", film(far)], capture_output=True, timeout=SHORTER, check=True).stdout
    assert head == content[:1000]
    assert len(os.listdir(staging)) == 1
    wait_for(lambda: not os.listdir(staging), what="the end of a download that nobody wants")
    proxy.release(held)
    assert film(far).read_bytes() == content
