"""The local socket of a running mount: how one process of a user talks to the mount of another.

A mount serves one Unix socket, named after its mountpoint, in a folder that only its user can enter; a small JSON
record beside it says which mount it is. One connection carries one request line and one answer line, both JSON:

    {"verb": "sync", "arguments": {"timeout": 30}}
    {"result": {"pending": 0}}       or       {"error": {"class": "TimedOut", "message": "…", "exit_code": 6}}

Must not know what the verbs mean: the mount hands in its handlers, the command line its arguments. Nothing here
touches the mounted tree itself, so a mount that hangs can't hang whoever asks about it.

Invariant: a socket appears under its name only when it already listens (bind elsewhere, then rename), and names are
claimed and cleaned under one lock. So a refused connection means that the mount is gone, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import trio

from . import errors, mountinfo

__all__ = ["Handler", "RunningMount", "call", "error_answer", "find", "resolve", "result", "running", "runtime_dir",
           "serve", "socket_path"]  # fmt: skip

log = logging.getLogger(__name__)

#: Does what a verb stands for, given the request's arguments; raises OaiofsError for the caller to see.
Handler: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

_MAX_REQUEST = 64 * 1024
#: A status of 10,000 objects is about 3 MiB.
_MAX_ANSWER = 256 * 1024 * 1024
_CHUNK = 64 * 1024
#: Seconds a client waits longer than the timeout it handed to the mount, which is the one that should end first.
_GRACE = 5.0
#: Seconds for a request to arrive and for an answer to leave; both ends are on this machine.
_TRANSFER_TIMEOUT = 10.0
#: unix(7): sun_path holds 108 bytes, one of them the closing NUL.
_MAX_SOCKET_PATH = 107
#: struct ucred of unix(7): pid, uid, gid.
_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMount:
    """One mount that serves a socket: where it is, whose it is, and the process behind it."""

    mountpoint: Path
    pid: int
    client_root: Path
    server: str
    user: str


def runtime_dir() -> Path:
    """The folder of this user's sockets, made where missing, mode 0700.

    ``$XDG_RUNTIME_DIR/oaiofs``, else ``/run/user/UID/oaiofs``, else ``/tmp/oaiofs-UID``. A base that belongs to
    somebody else (left in the environment by su or sudo) is passed over. Raises StateError where the folder exists
    but others could have put a socket into it.
    """
    uid = os.getuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if os.path.isabs(base) and os.path.isdir(base) and os.stat(base).st_uid == uid:
            return _private_folder(Path(base, "oaiofs"))
    return _private_folder(Path(f"/tmp/oaiofs-{uid}"))  # noqa: S108 - checked for owner, mode and symlink just below


def _private_folder(path: Path) -> Path:
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise errors.StateError(
            f"{path} must be a folder that only you can enter, but it is not: have it removed and try again."
        )
    return path


def resolve(path: Path) -> Path:
    """*path* absolute and free of symbolic links, without asking the mount it may stand for or be in."""
    absolute = Path(os.path.abspath(path.expanduser()))
    folder = os.path.realpath(absolute.parent)
    named = Path(folder, absolute.name)
    is_link = mountinfo.at(named) is None and os.path.islink(named)
    return Path(os.path.realpath(named)) if is_link else named


def socket_path(mountpoint: Path) -> Path:
    """Where the mount at *mountpoint*, as ``resolve`` gives it, listens. Raises ConfigError where that is too long."""
    # Not resolved here: the mount itself calls this, and would wait for itself if the path were looked at.
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
    path = runtime_dir() / f"{digest}.sock"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH - len(".new"):
        raise errors.ConfigError(f"{path} is too long for a socket's name: set XDG_RUNTIME_DIR to a shorter folder.")
    return path


@contextlib.contextmanager
def _names_locked() -> Iterator[None]:
    """Keep every other process from claiming or cleaning names meanwhile; held for microseconds."""
    descriptor = os.open(runtime_dir() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def running() -> list[RunningMount]:
    """Every mount of this user that answers, by mountpoint; what killed mounts left behind is cleaned up."""
    found = []
    for record in sorted(runtime_dir().glob("*.json")):
        mount = _read_record(record)
        if mount is not None and _listens(record.with_suffix(".sock")):
            found.append(mount)
        else:
            _clean(record)
    return sorted(found, key=lambda mount: mount.mountpoint)


def find(path: Path | None = None, mountpoint: Path | None = None) -> RunningMount:
    """The running mount at *mountpoint*, else the one that *path* is in, else the only one.

    Raises NotMounted where there is none, and UsageError where several run and neither argument tells them apart.
    """
    mounts = running()
    if mountpoint is not None:
        return _at(mounts, mountpoint)
    if path is not None:
        return _around(mounts, path)
    if not mounts:
        raise errors.NotMounted("No oaiofs mount is running: `oaiofs mount MOUNTPOINT` starts one.")
    if len(mounts) > 1:
        names = ", ".join(str(mount.mountpoint) for mount in mounts)
        raise errors.UsageError(f"Several mounts are running: say which one is meant ({names}).")
    return mounts[0]


def _at(mounts: list[RunningMount], mountpoint: Path) -> RunningMount:
    wanted = resolve(mountpoint)
    for mount in mounts:
        if mount.mountpoint == wanted:
            return mount
    raise errors.NotMounted(f"oaiofs is not mounted at {wanted}: `oaiofs mount {wanted}` does that.")


def _around(mounts: list[RunningMount], path: Path) -> RunningMount:
    # The path as it is written comes first: only a path that leads in through a symbolic link needs a look at it.
    for candidate in (Path(os.path.abspath(path)), resolve(path)):
        around = [mount for mount in mounts if candidate.is_relative_to(mount.mountpoint)]
        if around:
            return max(around, key=lambda mount: len(mount.mountpoint.parts))
    dead = next((at for at in (candidate, *candidate.parents) if (seen := mountinfo.at(at)) and seen.is_oaiofs), None)
    if dead is not None:
        raise errors.NotMounted(
            f"No process of yours serves the mount at {dead}: if it was killed, `oaiofs mount {dead}` cleans it up."
        )
    raise errors.NotMounted(f"{path} is not in a running oaiofs mount: `oaiofs status` shows the one that is running.")


def _write_record(record: Path, mount: RunningMount) -> None:
    # json's own \udcXX escapes bring paths that are not UTF-8 there and back; msgspec refuses them.
    text = json.dumps(asdict(mount), default=os.fspath)
    with open(record, "w", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)) as file:
        file.write(text)


def _read_record(record: Path) -> RunningMount | None:
    try:
        with record.open() as file:
            facts = json.loads(file.read(_MAX_REQUEST))
        return RunningMount(
            mountpoint=Path(facts["mountpoint"]),
            pid=int(facts["pid"]),
            client_root=Path(facts["client_root"]),
            server=str(facts["server"]),
            user=str(facts["user"]),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TRANSFER_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # too busy to take one more connection is not gone
    return True


def _clean(record: Path) -> None:
    """Remove what a mount that is gone left, unless a new one took the name in between."""
    with _names_locked():
        if not _listens(record.with_suffix(".sock")):
            record.with_suffix(".sock").unlink(missing_ok=True)
            record.unlink(missing_ok=True)


async def serve(
    mount: RunningMount,
    handlers: Mapping[str, Handler],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests for *mount* until cancelled; started once the socket can be reached.

    An answer that is ready when the cancellation comes is still sent, so the verb that ends the mount can say so.
    Requests of other users than this one and root are not read. Raises Busy where a mount already serves this
    mountpoint. A bug in a handler is logged and answered; it never ends the mount.
    """
    path = socket_path(mount.mountpoint)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(await trio.to_thread.run_sync(_claim, mount, path)))

    async def connected(stream: trio.SocketStream) -> None:
        async with stream:
            if _trusted(stream.socket):
                await _serve_one(stream, handlers)

    try:
        task_status.started()
        await trio.serve_listeners(connected, [listener])
    finally:
        # The folder may be in wrong hands by now, or gone with its user's session: nothing there is ours any more.
        with contextlib.suppress(errors.StateError, OSError):
            if os.path.lexists(path):
                _clean(path.with_suffix(".json"))


def _claim(mount: RunningMount, path: Path) -> socket.socket:
    fresh = Path(f"{path}.new")
    with _names_locked():
        if _listens(path):
            raise errors.Busy(f"{mount.mountpoint} is already mounted: `oaiofs umount {mount.mountpoint}` ends that.")
        fresh.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(os.fspath(fresh))
            fresh.chmod(0o600)
            listening.listen(64)
            _write_record(path.with_suffix(".json"), mount)
            fresh.rename(path)
        except BaseException:
            listening.close()
            raise
    return listening


def _trusted(peer: trio.socket.SocketType) -> bool:
    """Whether the other end is this user or root: asked of the kernel, whatever the folder's mode has become."""
    _pid, uid, _gid = _UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return uid in (os.getuid(), 0)


async def _serve_one(stream: trio.SocketStream, handlers: Mapping[str, Handler]) -> None:
    """Read the request, answer it, and stop working on it when whoever asked has gone away."""
    line = await _receive_line(stream)
    if not line:
        return
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some(1)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        answer = await _answer(line, handlers)
        # Shielded: the answer of the verb that ends the mount has to outrun the end of the mount.
        with trio.move_on_after(_TRANSFER_TIMEOUT, shield=True), contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(answer)
        nursery.cancel_scope.cancel()


async def _receive_line(stream: trio.SocketStream) -> bytes:
    """One line with its end, or what came instead; empty where nothing came (a mere probe) or nothing in time."""
    received = b""
    with trio.move_on_after(_TRANSFER_TIMEOUT), contextlib.suppress(trio.BrokenResourceError):
        while not received.endswith(b"\n") and len(received) <= _MAX_REQUEST:
            chunk = await stream.receive_some(_CHUNK)
            if not chunk:
                break
            received += chunk
        return received
    return b""


async def _answer(line: bytes, handlers: Mapping[str, Handler]) -> bytes:
    try:
        verb, arguments = _parse(line)
        handler = handlers.get(verb)
        if handler is None:
            raise errors.UsageError(f"This mount does not know {verb!r}: is it of an older version of oaiofs?")
        return _encode({"result": await handler(arguments)})
    except errors.OaiofsError as error:
        return _encode(error_answer(error))
    except Exception as error:
        log.exception("a control request failed unexpectedly")
        bug = f"The mount met a bug ({type(error).__name__}) and goes on; its log tells more."
        return _encode(error_answer(errors.OaiofsError(bug)))


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    if len(line) > _MAX_REQUEST:
        raise errors.UsageError(f"The request is longer than {_MAX_REQUEST} bytes.")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise errors.UsageError(f"The request is not JSON: {error}") from error
    match request:
        case {"verb": str(verb), "arguments": dict(arguments)} if len(request) == 2:
            return verb, arguments
    raise errors.UsageError("The request is not what oaiofs sends: a verb and its arguments.")


def error_answer(error: errors.OaiofsError) -> dict[str, Any]:
    """The answer that makes ``result`` raise *error* in another process."""
    return {"error": {"class": type(error).__name__, "message": str(error), "exit_code": error.exit_code}}


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def call(mount: RunningMount, verb: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
    """Have *mount* do *verb* and return its answer; blocks.

    *timeout* (seconds) is handed to the mount among the *arguments*, so that it ends the waiting and says what is
    left; a mount that does not answer even then is given up. Without one the call waits as long as the mount lives.
    Raises what the mount raised, NotMounted where it is gone or ends meanwhile, TimedOut where it is silent.
    """
    if timeout is not None:
        arguments["timeout"] = timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(None if timeout is None else timeout + _GRACE)
        try:
            connection.connect(os.fspath(socket_path(mount.mountpoint)))
            connection.sendall(_encode({"verb": verb, "arguments": arguments}))
            line = _read_answer(connection)
        except TimeoutError as error:
            raise errors.TimedOut(
                f"The mount at {mount.mountpoint} (process {mount.pid}) did not answer in time; it is left as it is."
            ) from error
        except OSError:
            line = b""
    if not line.endswith(b"\n"):
        raise errors.NotMounted(
            f"The mount at {mount.mountpoint} ended before it answered: `oaiofs mount {mount.mountpoint}` starts it."
        )
    return result(line)


def _read_answer(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) <= _MAX_ANSWER:
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        received += chunk
    return bytes(received)


def result(line: bytes) -> dict[str, Any]:
    """What an answer line holds. Raises the error that it tells of, Protocol where it makes no sense."""
    match _decoded(line):
        case {"result": dict(answer)}:
            return answer
        case {"error": {"class": str(name), "message": str(message), "exit_code": int(exit_code)}}:
            failure = _error_class(name)(message)
            failure.exit_code = exit_code
            raise failure
    raise errors.Protocol("The mount's answer makes no sense: is it of another version of oaiofs?")


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _error_class(name: str) -> type[errors.OaiofsError]:
    kind = getattr(errors, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, errors.OaiofsError) else errors.OaiofsError
