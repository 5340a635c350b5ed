"""Real mounts for tests: ``MountKit`` runs ``oaiofs mount`` as users do, and ``Cloud`` shows what the servers hold.

    with MountKit(server, account, "d1") as d1:
        (d1.path / "notes").mkdir()
        d1.sync()
        assert "notes" in Cloud(server, account).objects()

A kit has a home of its own (client root, settings, runtime folder) below the system's temporary folder and leaves
nothing behind: no mount, no process, no folder, also when the test fails; then its log is shown. A warning in the log
that was not announced with ``expect`` fails the test.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest
import trio

from oaiofs import control, mountinfo
from oaiofs.core.model import RemoteObject, Right
from oaiofs.core.names import display_name
from oaiofs.remote.contract import StorageHost
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.oaio import HttpOaioServer
from tests import prefork
from tests.serverkit import ServerKit

REPOSITORY = Path(__file__).parent.parent
_START_TIMEOUT = 30.0
_END_TIMEOUT = 30.0
_KILL_TIMEOUT = 10.0
#: Seconds after which a mount is killed: a program stuck in it can't be interrupted in any other way. Little less than
#: a test may take, so that none fails by it that would have come to its end.
LIFETIME = 280.0
#: Seconds that is waited for what is to come by itself: how fast it comes is measured in tests of their own.
PATIENCE = 60.0
_LOUD = re.compile(r" (WARNING|ERROR|CRITICAL) |^Traceback|^\w*(Error|Warning): |oaiofs: ", re.MULTILINE)

T = TypeVar("T")


def _missing() -> str:
    if not os.path.exists("/dev/fuse"):
        return "needs /dev/fuse"
    return "" if shutil.which("fusermount3") else "needs fusermount3"


#: For every module with real mounts: ``pytestmark = needs_fuse``.
needs_fuse = [pytest.mark.fuse, pytest.mark.skipif(bool(_missing()), reason=_missing() or "FUSE is there")]

#: For a test whose edits are to be one version, however long they take: ``d1`` sends nothing before it is asked to.
when_asked = pytest.mark.parametrize("quiet", [60.0], ids=["when asked"])


class Account(NamedTuple):
    """A user of the server."""

    user: str
    password: str


def wait_for(predicate: Callable[[], T | None], timeout: float = PATIENCE, what: str = "") -> T:
    """The first truthy value of *predicate*, asked again and again; an OSError counts as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            seen = predicate()
            if seen:
                return seen
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                raise
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not come true within {timeout:g} s; last seen: {seen!r}")
        time.sleep(0.03)


def wait_same(look: Callable[[], object], expected: object, timeout: float = PATIENCE) -> None:
    """Wait until *look* gives *expected*; the failure shows what it gave instead."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: look() == expected, timeout)
    assert look() == expected


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below *folder* by its path: a file's bytes, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


class MountKit:
    """One device: its mount can be started and ended as often as a test likes. Times are seconds."""

    def __init__(
        self,
        server: ServerKit,
        account: Account,
        device_id: str = "d1",
        *,
        poll: float = 0.5,
        quiet: float = 0.3,
        arguments: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
        lifetime: float = LIFETIME,
        fresh: bool = False,
    ) -> None:
        self.lifetime = lifetime
        self.fresh = fresh  # whether each process has an interpreter of its own, see prefork
        self.server = server
        self.account = account
        self.device_id = device_id
        self.arguments = (f"--poll-interval={poll}", f"--quiet-time={quiet}", *arguments)
        self.folder = Path(tempfile.mkdtemp(prefix="oaiofs-"))  # short: sockets' names are
        self.path = self.folder / "mnt"
        self.client_root = self.folder / "root"
        self.process: prefork.Process | None = None
        self.wrong_on_purpose = ""  # why the client root is not checked at the end
        self._guard: threading.Timer | None = None
        self._log_file = self.folder / "mount.log"
        self._expected: list[str] = []
        for name in ("mnt", "run", "home"):
            (self.folder / name).mkdir(mode=0o700)
        self.password_file = self.folder / "password"
        self.password_file.touch(0o600)
        self.password_file.write_text(account.password)
        self.environ = self._environment() | (environ or {})

    def _environment(self) -> dict[str, str]:
        own = {f"XDG_{name}_HOME": str(self.folder / "home" / name) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        plain = {name: value for name, value in os.environ.items() if not name.startswith("OAIOFS_")}
        return {
            **plain, **own, "HOME": str(self.folder / "home"), "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring", "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip

    # -- begin and end ---------------------------------------------------------------------------------------

    def __enter__(self) -> MountKit:
        try:
            self.start()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        try:
            if self.running and kind is None:
                found = self.problems()
                assert not found, f"wrong with the client root of {self.device_id}: {found}"
                self.stop()
        finally:
            print(f"--- log of {self.device_id} ---\n{self.log}")
            loud = self.complaints()
            self._clean()
        if kind is None:
            assert not loud, f"the mount of {self.device_id} complained"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def words(self, *more: str) -> list[str]:
        """The command line that mounts, after ``oaiofs``."""
        return [
            "mount", str(self.path), "--server", self.server.url, "--user",
            self.account.user, "--password-file", str(self.password_file), "--client-root", str(self.client_root),
            "--device-id", self.device_id, "-v", *self.arguments, *more,
        ]  # fmt: skip

    def start(self, *more: str) -> None:
        """Mount in the foreground, and wait until the mount answers."""
        assert self.process is None or self.process.poll() is not None
        begun = len(self.log)
        with open(self._log_file, "ab") as log:
            self.process = prefork.begin(self.words(*more), log, log, self.environ, self.folder, fresh=self.fresh)
        self._guard = threading.Timer(self.lifetime, self.process.kill)
        self._guard.daemon = True
        self._guard.start()
        wait_for(lambda: " is mounted at " in self.log[begun:] or not self.running, _START_TIMEOUT, "the mount")
        assert self.running, f"the mount ended with {self.process.returncode}:\n{self.log[begun:]}"
        os.stat(self.path)

    def ended(self, timeout: float = _END_TIMEOUT) -> int:
        """Wait for the mount's process to end; its exit code."""
        assert self.process is not None
        code = self.process.wait(timeout)
        if self._guard is not None:
            self._guard.cancel()
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the mount as a system does that shuts down; it must end in good order."""
        assert self.process is not None
        self.process.send_signal(number)
        assert self.ended() == 0, self.log
        assert mountinfo.at(self.path) is None, "the mount is still there"

    def kill(self) -> None:
        """End the mount's process in the middle of whatever it does; its dead mountpoint stays."""
        assert self.process is not None
        self.process.kill()
        self.ended()

    def end(self) -> None:
        """Leave no process, however it is."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()
        try:
            self.ended(_KILL_TIMEOUT)
        except subprocess.TimeoutExpired:  # it waits in the kernel for itself
            subprocess.run(["umount", "-f", "-l", self.path], check=False)
            self.ended(_KILL_TIMEOUT)

    def _clean(self) -> None:
        self.end()
        for _ in range(10):  # a mountpoint may have been mounted over
            if mountinfo.at(self.path) is None:
                break
            subprocess.run(["umount", "-l", self.path], check=False)
        assert mountinfo.at(self.path) is None, f"{self.path} can't be unmounted: left in place"
        shutil.rmtree(self.folder)

    # -- doors -----------------------------------------------------------------------------------------------

    def oaiofs(self, *words: object, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command line of oaiofs as this device's user."""
        return prefork.run([*map(str, words)], self.environ, self.folder, timeout, fresh=self.fresh)

    def status(self) -> dict[str, Any]:
        """What ``oaiofs status --json`` prints, over the mount's socket: also where the mount itself hangs."""
        with self._runtime_folder():
            return control.call(control.find(mountpoint=self.path), "status", 10.0)

    def shown(self, name: str) -> dict[str, Any]:
        """What the status says of the object called *name*; {} where there is none."""
        found = [one for one in self.status()["objects"] if one["name"] == name]
        return found[0] if found else {}

    def problems(self) -> list[Any]:
        """What ``oaiofs check`` finds wrong with the running mount's client root."""
        if self.wrong_on_purpose or self.process is None or mountinfo.at(self.path) is None:
            return []
        with self._runtime_folder():
            found: list[Any] = control.call(control.find(mountpoint=self.path), "check", 30.0)["problems"]
            return found

    def sync(self, timeout: float = 30.0) -> None:
        """``oaiofs sync``: every local change is on the servers then, and every remote one here."""
        self.ask("sync", timeout, yes=False)

    def ask(self, verb: str, timeout: float = 30.0, **arguments: Any) -> dict[str, Any]:
        """What the mount answers to a command, without the time that a process of its own takes to begin."""
        with self._runtime_folder():
            return control.call(control.find(mountpoint=self.path), verb, timeout, **arguments)

    @contextlib.contextmanager
    def _runtime_folder(self) -> Iterator[None]:
        """Sockets are looked for where the environment says."""
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = self.environ["XDG_RUNTIME_DIR"]
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before

    # -- log -------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What the mount said so far, over all its starts."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def expect(self, *patterns: str) -> None:
        """Announce complaints of the mount that the test provokes: regular expressions, searched line by line."""
        self._expected += patterns

    def complaints(self) -> list[str]:
        """Log lines that say that something is wrong, but for the announced ones."""
        loud = [line for line in self.log.splitlines() if _LOUD.search(line)]
        return [line for line in loud if not any(re.search(pattern, line) for pattern in self._expected)]


class MountMaker(Protocol):
    """Starts another device, or with ``start=False`` only prepares it; all are ended after the test."""

    def __call__(
        self, device_id: str = "d1", account: Account | None = None, *, start: bool = True, **settings: Any
    ) -> MountKit: ...


@contextlib.contextmanager
def mounting(server: ServerKit, owner: Account) -> Iterator[MountMaker]:
    """Makes mounts of *owner*, where no other account is given, on *server* until the block ends."""
    with contextlib.ExitStack() as stack:

        def make(
            device_id: str = "d1", account: Account | None = None, *, start: bool = True, **settings: Any
        ) -> MountKit:
            kit = MountKit(server, account or owner, device_id, **settings)
            if start:
                return stack.enter_context(kit)
            stack.push(kit.__exit__)
            return kit

        yield make


class Cloud:
    """What oaio server and storage host hold for one account, asked over the wire like another device would."""

    def __init__(self, server: ServerKit, account: Account) -> None:
        self.server = server
        self.account = account

    def ask(self, question: Callable[[HttpOaioServer], Awaitable[T]]) -> T:
        """The answer to *question*, put to the oaio server in a session of its own."""

        async def session() -> T:
            server = HttpOaioServer(self.server.host, *self.account, device_id="observer", app_id="oaiofs")
            try:
                return await question(server)
            finally:
                await server.aclose()

        return trio.run(session)

    def ask_storage(self, question: Callable[[StorageHost], Awaitable[T]]) -> T:
        """The answer to *question*, put to the storage host of the account's new objects."""

        async def opened(server: HttpOaioServer) -> T:
            host = open_storage(await server.storage_account("Digi"), {})
            try:
                return await question(host)
            finally:
                await host.aclose()

        return self.ask(opened)

    def objects(self) -> dict[str, RemoteObject]:
        """The user's objects by what a mount calls them, where no two have one name."""
        listed = self.ask(lambda server: server.list_objects())
        assert not listed.skipped
        found = {display_name(one.values, one.file_paths, one.oaio_id): one for one in listed.objects}
        assert len(found) == len(listed.objects), "two objects with one name"
        return found

    def stored(self, remote: RemoteObject) -> dict[str, bytes]:
        """All files that the storage host has of an object, in every version: by ``STAMP/PATH``."""

        async def read(host: StorageHost) -> dict[str, bytes]:
            found = {}
            for path in await host.list_tree(remote.oaio_id):
                async with host.get(f"{remote.oaio_id}/{path}") as chunks:
                    found[path] = b"".join([chunk async for chunk in chunks])
            return found

        return self.ask_storage(read)

    def version(self, remote: RemoteObject) -> dict[str, bytes]:
        """The files that the storage host has under the announced stamp."""
        prefix = f"{remote.stamp}/"
        stored = self.stored(remote) if remote.file_paths else {}
        found = {path.removeprefix(prefix): data for path, data in stored.items() if path.startswith(prefix)}
        assert sorted(found) == sorted(remote.file_paths), "the storage holds other files than were announced"
        return found

    def stamps(self, name: str) -> list[str]:
        """The versions that the storage host has of the object called *name*, oldest first."""
        return sorted({path.partition("/")[0] for path in self.stored(self.objects()[name])})

    def share(self, remote: RemoteObject, user: str, right: Right) -> None:
        self.ask(lambda server: server.subscribe(remote.oaio_id, user, right))

    def delete(self, name: str) -> None:
        """Delete the object called *name* for all users."""
        oaio_id = self.objects()[name].oaio_id
        self.ask(lambda server: server.delete(oaio_id))

    def spoil(self, remote: RemoteObject, path: str, data: bytes) -> None:
        """Put other bytes under a stored file on the server's disk, behind the server's back."""
        [found] = self.server.data.glob(f"**/{remote.oaio_id}/{remote.stamp}/{path}")
        found.write_bytes(data)
