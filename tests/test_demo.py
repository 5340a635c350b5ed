"""``oaiofs demo``: the samples on a real server, and the whole of it, mounted."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING

import pytest

from oaiofs import credentials, demo, mountinfo
from oaiofs.core.model import NAME_KEY, Right
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.oaio import HttpOaioServer
from tests.clikit import command, home, oaiofs, refused
from tests.serverkit import ServerKit, oaio_server

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home", "oaio_server"]

pytestmark = pytest.mark.usefixtures("home")


def test_a_picture_is_a_valid_png() -> None:
    image = demo.picture((120, 170, 255), (90, 160, 80), (255, 240, 170), 24, 16)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(image):
        (length,) = struct.unpack_from(">I", image, place)
        kind, body = image[place + 4 : place + 8], image[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", image, place + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (24, 16)
    assert len(zlib.decompress(chunks[b"IDAT"])) == 16 * (1 + 24 * 3)


async def test_the_samples_are_made_once_and_one_is_shared_to_read(
    oaio_server: ServerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user, password), (friend, friends) = oaio_server.fresh_user("demo"), oaio_server.fresh_user("bob")
    monkeypatch.setattr(demo, "USER", user)
    monkeypatch.setattr(demo, "FRIEND", friend)
    passwords = {user: credentials.Secret(password), friend: credentials.Secret(friends)}
    for _again in range(2):
        await demo._add_samples(oaio_server.url, passwords)

    server = HttpOaioServer(oaio_server.url, user, password, device_id="test", app_id="oaiofs")
    try:
        listed = {known.values[NAME_KEY]: known for known in (await server.list_objects()).objects}
        assert len((await server.list_objects()).objects) == len(listed)
        assert {name: known.right for name, known in listed.items()} == {
            **{sample.name: Right.CREATE for sample in demo.SAMPLES},
            demo.SHARED_SAMPLE.name: Right.READ,
        }
        storage = open_storage(await server.storage_account("Digi"), {})
        try:
            for sample in (*demo.SAMPLES, demo.SHARED_SAMPLE):
                known = listed[sample.name]
                assert {**known.values} == {NAME_KEY: sample.name, **sample.values}
                assert sorted(known.file_paths) == sorted(sample.files)
                for path, content in sample.files.items():
                    async with storage.get(f"{known.oaio_id}/{known.stamp}/{path}") as chunks:
                        assert b"".join([chunk async for chunk in chunks]) == content
        finally:
            await storage.aclose()
    finally:
        await server.aclose()


def test_a_folder_with_files_in_it_is_not_covered(home: Path) -> None:
    (home / "full").mkdir()
    (home / "full" / "mine.txt").write_text("mine")
    refused(oaiofs("demo", home / "full"), 2, str(home / "full"), "not empty")


def start(mountpoint: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("demo", mountpoint), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def said_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stdout.readline()
        assert line, said + process.stderr.read()
        said += line
    return said


@pytest.mark.fuse
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")
def test_the_demo_shows_everything_ends_on_ctrl_c_and_survives_a_kill(home: Path) -> None:
    place = home / "place"
    process = start(place)
    try:
        said = said_until(process, "ends the demo")
        assert str(place) in said
        assert oaiofs("sync", place, "--timeout", "30").returncode == 0
        expected = {sample.name for sample in demo.SAMPLES} | {demo.SHARED_SAMPLE.name}
        assert set(os.listdir(place)) == expected
        assert (place / "notes" / "todo.txt").read_bytes() == demo.SAMPLES[0].files["todo.txt"]
        assert (place / "photos" / "night" / "moon.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(PermissionError) if os.getuid() else pytest.raises(OSError):  # noqa: PT011
            (place / demo.SHARED_SAMPLE.name / "plan.txt").write_text("mine now")
        (place / "notes" / "todo.txt").write_text("edited\n")
        assert oaiofs("sync", place, "--timeout", "30").returncode == 0
        process.send_signal(signal.SIGINT)
        output, complaints = process.communicate(timeout=60)
        assert (process.returncode, complaints) == (0, ""), output
        assert not os.path.ismount(place)

        process = start(place)
        said_until(process, "ends the demo")
        assert (place / "notes" / "todo.txt").read_text() == "edited\n"
        process.kill()
        process.communicate()

        process = start(place)
        said_until(process, "ends the demo")
        assert set(os.listdir(place)) == expected, "known from before, no network needed"
        done = oaiofs("umount", place)
        assert (done.returncode, done.stderr) == (0, "")
        output, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "was left by a mount that was killed" in complaints
    finally:
        process.kill()
        process.communicate()
        if mountinfo.at(place) is not None:
            oaiofs("umount", place)
