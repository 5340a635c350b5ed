"""``oaiofs demo``: everything on this machine, from nothing to a mounted tree, and away again.

A self-hosted server with its storage host on loopback, two users, a few objects of each kind, and an ordinary mount.
What it keeps is under ``$XDG_STATE_HOME/oaiofs/demo`` and is found again the next time, as it was left, even by a demo
that was killed. Must not know how a server, a storage host or a mount works: it uses their front doors.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import struct
import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs
import trio

from . import config, credentials, errors
from .core import names, stamps
from .core.model import NAME_KEY, Outgoing, Right, Values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from .remote.contract import OaioServer, Source, StorageHost

USER = "demo"
FRIEND = "bob"
_CSH_ID = "Digi"
_APP_ID = "oaiofs"


class _Memory(msgspec.Struct, frozen=True):
    """What a demo has to know of the one before."""

    port: int = 0
    has_samples: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One object of the demo: its display name, its values, its files by path, and what the demo says of it."""

    name: str
    about: str
    values: Values
    files: Mapping[str, bytes]


def run(mountpoint: Path, say: Callable[[str], None], *, data: Path | None = None) -> None:
    """Serve, mount at *mountpoint* (made where missing) and return after Ctrl-C or ``oaiofs umount``.

    *say* prints one line. *data* is where all is kept. Raises UsageError where *mountpoint* holds files already, and
    what servers and mounts raise.
    """
    data = data or platformdirs.user_state_path("oaiofs") / "demo"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    _prepare(mountpoint)
    try:
        _serve_and_mount(mountpoint, say, data)
    except KeyboardInterrupt:
        pass  # pressed before the mount was there to take it
    say(f"The demo has ended. `oaiofs demo` goes on where it was; removing {data} forgets it.")


def _serve_and_mount(mountpoint: Path, say: Callable[[str], None], data: Path) -> None:
    from . import mount
    from .server import process

    say("Starting a server with storage on this machine …")
    memory = _read_memory(data)
    passwords = {user: _password(data, user) for user in (USER, FRIEND)}
    child = process.spawn(data / "server", _free(memory.port))
    try:
        child.wait_ready()
        memory = msgspec.structs.replace(memory, port=int(child.url.rpartition(":")[2]))
        if not memory.has_samples:
            trio.run(_add_samples, child.url, passwords)
        memory = msgspec.structs.replace(memory, has_samples=True)
        credentials.write_private(data / "demo.json", msgspec.json.encode(memory))
        settings = config.Settings(
            mountpoint=mountpoint,
            server=child.url,
            user=USER,
            password=passwords[USER],
            # The address is part of what a client root is for, and another port is another address.
            client_root=data / f"client-{memory.port}",
            device_id=config.default_device_id(),
            csh_id=_CSH_ID,
            storage_urls={},
            poll_interval=2.0,
            quiet_time=1.0,
        )
        mount.run(settings, ready=lambda: _explain(settings, data, say))
    finally:
        child.stop()


def _prepare(mountpoint: Path) -> None:
    try:
        mountpoint.mkdir(parents=True, exist_ok=True)
        occupied = bool(os.listdir(mountpoint))
    except OSError:
        return  # a dead mount of a killed demo, most likely: the mount itself cleans that, or says what it is
    if occupied:
        raise errors.UsageError(f"{mountpoint} is not empty: name another folder, `oaiofs demo MOUNTPOINT`.")


def _explain(settings: config.Settings, data: Path, say: Callable[[str], None]) -> None:
    place = settings.mountpoint
    oaiofs = "oaiofs" if shutil.which("oaiofs") else os.path.abspath(sys.argv[0])  # from a checkout: not in the PATH
    width = max(len(sample.name) for sample in (*SAMPLES, SHARED_SAMPLE))
    say(f"\n{place} is mounted. In it, as first made:")
    for sample in (*SAMPLES, SHARED_SAMPLE):
        say(f"  {sample.name:<{width}}  {sample.about}")
    say(f"""
Try in another terminal:
  ls -l {place}
  cat "{place}/{SAMPLES[0].name}/values.json"
  echo "buy milk" >> "{place}/{SAMPLES[0].name}/todo.txt"
  mkdir "{place}/my first object"
  {oaiofs} status {place}
and as {FRIEND}, for a second device:
  mkdir -p ~/oaio-{FRIEND}
  {oaiofs} mount ~/oaio-{FRIEND} --server {settings.server} --user {FRIEND} \\
    --password-file {_password_file(data, FRIEND)}

The server is at {settings.server}; everything is kept in {data}.
Ctrl-C here, or `{oaiofs} umount {place}`, ends the demo.""")


def _password_file(data: Path, user: str) -> Path:
    return data / f"{user}.password"


def _password(data: Path, user: str) -> credentials.Secret:
    """The password of *user*, random so that other users of this machine stay out; made with the user, once."""
    from . import server

    file = _password_file(data, user)
    if not file.exists():
        password = secrets.token_urlsafe(24)
        try:
            server.add_user(data / "server", user, password)
        except errors.Exists:  # killed between the user and the file
            server.set_password(data / "server", user, password)
        credentials.write_private(file, password.encode() + b"\n")
    return credentials.from_file(file)


def _read_memory(data: Path) -> _Memory:
    try:
        return msgspec.json.decode((data / "demo.json").read_bytes(), type=_Memory)
    except (FileNotFoundError, msgspec.MsgspecError):
        return _Memory()


def _free(port: int) -> int:
    """*port* where nobody else has it by now, else 0 for any."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return port
    except OSError:
        return 0


async def _add_samples(url: str, passwords: Mapping[str, credentials.Secret]) -> None:
    await _register(url, USER, passwords[USER], SAMPLES)
    await _register(url, FRIEND, passwords[FRIEND], [SHARED_SAMPLE], share_with=USER)


async def _register(
    url: str, user: str, password: credentials.Secret, samples: Sequence[Sample], *, share_with: str = ""
) -> None:
    """Make those of *samples* that *user* does not have, as any device would: files first, then the announcement."""
    from .remote.hosts import open_storage
    from .remote.oaio import HttpOaioServer

    device = f"{user}-laptop"
    server = HttpOaioServer(url, user, password.reveal(), device_id=device, app_id=_APP_ID)
    try:
        have = {known.values.get(NAME_KEY) for known in (await server.list_objects()).objects}
        storage = open_storage(await server.storage_account(_CSH_ID), {})
        try:
            for sample in samples:
                if sample.name not in have:
                    outgoing = _outgoing(sample, user, device)
                    await _announce(server, storage, outgoing, sample.files)
                    if share_with:
                        await server.subscribe(outgoing.oaio_id, share_with, Right.READ)
        finally:
            await storage.aclose()
    finally:
        await server.aclose()


def _outgoing(sample: Sample, user: str, device: str) -> Outgoing:
    values = {NAME_KEY: sample.name, **sample.values}
    paths = tuple(sample.files)
    stamp = stamps.make(datetime.now(UTC))
    return Outgoing(
        oaio_id=names.make_oaio_id(_APP_ID, user, device, values, paths, stamp),
        stamp=stamp,
        base="",
        values=values,
        file_paths=paths,
        base_values={},
        base_file_paths=(),
        csh_id=_CSH_ID,
    )


async def _announce(server: OaioServer, storage: StorageHost, outgoing: Outgoing, files: Mapping[str, bytes]) -> None:
    mtime_ns = stamps.to_ns(outgoing.stamp)
    for path, content in files.items():
        target = f"{outgoing.oaio_id}/{outgoing.stamp}/{path}"
        await storage.put(target, _source(content), len(content), mtime_ns)
    await server.register(outgoing)


def _source(content: bytes) -> Source:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return chunks


_Colour = tuple[int, int, int]


def picture(sky: _Colour, ground: _Colour, sun: _Colour, width: int = 240, height: int = 160) -> bytes:
    """A small landscape as a PNG file: sky over ground, each fading, with a sun (PNG specification, ISO 15948)."""

    def row(y: int) -> bytes:
        base, depth = (sky, y / height) if y < height * 2 // 3 else (ground, (height - y) / height)
        plain = bytes(min(255, int(part * (0.6 + 0.7 * depth))) for part in base)
        reach = int(max(0, (height // 6) ** 2 - (y - height // 2) ** 2) ** 0.5) if y < height * 2 // 3 else 0
        left = width * 2 // 3 - reach
        return b"\0" + plain * left + bytes(sun) * (2 * reach) + plain * (width - left - 2 * reach)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(row(y) for y in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


SAMPLES = (
    Sample(
        "notes",
        "values beside text files: edit values.json or a file, both reach the server",
        {"title": "Notes", "tags": ["home", "garden"], "pinned": True, "lines": 2},
        {
            "todo.txt": b"water the tomatoes\nrepair the bicycle\n",
            "recipes/bread.md": b"# Bread\n\n500 g flour, 350 g water, 10 g salt, a little yeast and a long night.\n",
        },
    ),
    Sample(
        "photos",
        "a folder of pictures",
        {"place": "by the sea", "year": 2026},
        {
            "morning.png": picture((120, 170, 255), (90, 160, 80), (255, 240, 170)),
            "evening.png": picture((240, 120, 60), (70, 60, 90), (255, 210, 90)),
            "night/moon.png": picture((25, 30, 80), (15, 25, 30), (235, 235, 220)),
        },
    ),
    Sample("reading list", "values only", {"books": [{"title": "Momo", "read": True}, {"title": "Emma"}]}, {}),
)
SHARED_SAMPLE = Sample(
    "house settings",
    f"made by {FRIEND} and shared with you to read: writing to it is refused",
    {"heating": 20.5, "lights": {"hall": "motion", "garden": "dusk"}},
    {"plan.txt": b"+---------+------+\n| kitchen | hall |\n+---------+------+\n"},
)
