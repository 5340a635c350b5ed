"""The command line as users run it: real processes, and a real socket to answer them."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import trio

from oaiofs import control, errors, mountinfo
from oaiofs.cli import app, mounting
from tests.clikit import command, home, oaiofs, oaiofs_async, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")

STATUS: dict[str, Any] = {
    "mountpoint": "/m",
    "server": "https://oaio.example.org",
    "user": "alice",
    "device_id": "laptop",
    "online": True,
    "pending": 0,
    "pending_since": None,
    "conflicts": 0,
    "errors": 0,
    "objects": [
        {"id": "i1", "name": "nötes", "state": "synced", "stamp": "20261122120000000000", "right": "C"},
        {"id": "i2", "name": "photos", "state": "dirty", "stamp": "20261122120000000000", "right": "C"},
    ],
}


@asynccontextmanager
async def fake_mount(mountpoint: Path, pid: int = 0, **handlers: control.Handler) -> AsyncIterator[None]:
    """Something that answers as a mount at *mountpoint* does."""
    mount = control.RunningMount(
        mountpoint=mountpoint, pid=pid or os.getpid(), client_root=Path("/root-of-it"), server="https://s", user="u"
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: control.serve(mount, handlers, task_status=task_status)
        )
        yield
        nursery.cancel_scope.cancel()


def answering(answer: Mapping[str, Any], heard: list[dict[str, Any]] | None = None) -> control.Handler:
    async def handler(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if heard is not None:
            heard.append(dict(arguments))
        return answer

    return handler


def raising(error: Exception) -> control.Handler:
    async def handler(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    return handler


def commands(group: click.Group = app.oaiofs) -> Iterator[click.Command]:
    for known in group.commands.values():
        yield known
        if isinstance(known, click.Group):
            yield from commands(known)


def test_the_commands_of_the_contract_are_there_with_their_flags() -> None:
    flags = {
        known.name: {flag for parameter in known.params for flag in parameter.opts if flag.startswith("-")}
        for known in commands()
    }
    assert flags["login"] >= {"--user", "--password-file"}
    assert flags["mount"] >= {"--server", "--user", "--password-file", "--client-root", "--device-id", "--app-id"}
    assert flags["mount"] >= {"--csh-id", "--storage-url", "--poll-interval", "--quiet-time", "--cache-size"}
    assert flags["mount"] >= {"--read-only", "--allow-other", "-o", "--daemon", "-v"}
    assert flags["umount"] >= {"--flush", "--timeout"}
    assert flags["sync"] >= {"--timeout"}
    assert flags["status"] >= {"--json", "--watch"}
    assert flags["run"] >= {"--host", "--port", "--data"}
    assert flags["adduser"] >= {"--superuser", "--password-file"}
    assert {"demo", "deluser", "addstorage"} <= set(flags)


@pytest.mark.parametrize("known", list(commands()), ids=lambda known: known.name)
def test_every_command_and_option_says_what_it_is_for(known: click.Command) -> None:
    assert known.help
    assert len(known.get_short_help_str(80)) < 80
    assert not known.get_short_help_str(80).endswith("...")
    for parameter in known.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_help_and_version_answer_on_standard_output() -> None:
    done = oaiofs("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("oaiofs ")
    done = oaiofs("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit codes:" in done.stdout


@pytest.mark.parametrize("words", [["status", "--no-such"], ["umount"], ["dance"], ["sync", "--timeout", "soon"]])
def test_wrong_words_end_with_2(words: list[str]) -> None:
    refused(oaiofs(*words), 2, "--help`")


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e300"])
@pytest.mark.parametrize("verb", ["sync", "umount"])
async def test_a_time_that_can_not_be_waited_is_refused_before_the_mount_hears_of_it(
    home: Path, verb: str, seconds: str
) -> None:
    heard: list[dict[str, Any]] = []
    handler = answering({"pending": 0}, heard)
    async with fake_mount(home / "m", sync=handler, umount=handler):
        refused(await oaiofs_async(verb, "m", "--timeout", seconds), 2, "--timeout")
    assert heard == []


@pytest.mark.parametrize("words", [["status"], ["sync"], ["status", "/nowhere"], ["umount", "/nowhere"]])
def test_without_a_mount_it_is_3(words: list[str]) -> None:
    refused(oaiofs(*words), 3, *words[1:])


def test_a_mount_that_can_not_be_told_what_it_is_of_is_2(home: Path) -> None:
    refused(oaiofs("mount", home / "m"), 2, "oaiofs login")
    refused(oaiofs("mount", home / "m", "--storage-url", "Digi"), 2, "CSH_ID=URL")
    refused(oaiofs("mount", home / "m", "--server", "http://x.example", "--user", "u"), 2, "--insecure")
    refused(oaiofs("mount", home / "m", "--server", "x.example", "--user", "u", "--quiet-time", "0"), 2, "quiet_time")
    refused(oaiofs("mount", home / "m", "--server", "x.example", "--user", "u"), 4, "No password")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.OaiofsError("It failed."), 1),
        (errors.UsageError("Wrong words."), 2),
        (errors.Unauthorized("The password is wrong."), 4),
        (errors.Unreachable("No network."), 5),
        (errors.TimedOut("3 changes are still pending."), 6),
        (errors.Refused("Too many would go: --yes does it."), 7),
    ],
)
async def test_what_the_mount_refuses_is_said_with_its_exit_code(
    home: Path, error: errors.OaiofsError, exit_code: int
) -> None:
    async with fake_mount(home / "m", sync=raising(error)):
        refused(await oaiofs_async("sync"), exit_code, f"oaiofs: {error}\n")


@pytest.mark.logs_errors
async def test_a_bug_in_the_mount_is_a_failure_without_its_details(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_mount(home / "m", sync=raising(KeyError("detail"))):
        refused(await oaiofs_async("sync", home / "m" / "x"), 1, "bug")
    assert "control request failed" in caplog.text


async def test_sync_hands_its_timeout_over(home: Path) -> None:
    heard: list[dict[str, Any]] = []
    async with fake_mount(home / "m", sync=answering({"pending": 0}, heard)):
        done = await oaiofs_async("sync", "m", "--timeout", "2.5")
        assert (done.returncode, done.stderr) == (0, "")
        assert str(home / "m") in done.stdout
        await oaiofs_async("sync")
    assert heard == [{"timeout": 2.5, "yes": False}, {"yes": False}]


async def test_status_as_text_and_as_one_object(home: Path) -> None:
    heard: list[dict[str, Any]] = []
    async with fake_mount(home / "m", status=answering(STATUS, heard)):
        text = await oaiofs_async("status")
        assert (text.returncode, text.stderr) == (0, "")
        assert text.stdout.startswith("/m: alice at https://oaio.example.org, device laptop\nonline, ")
        assert "nötes" in text.stdout
        assert "\x1b" not in text.stdout
        whole = await oaiofs_async("status", home / "m", "--json")
        assert json.loads(whole.stdout) == STATUS
        one = await oaiofs_async("status", "m/nötes/deep/a.txt")
        assert "  id       i1" in one.stdout
    assert [arguments.get("path") for arguments in heard] == [None, None, "nötes/deep/a.txt"]


async def test_status_of_one_of_several_mounts(home: Path) -> None:
    other = {**STATUS, "user": "bob"}
    async with fake_mount(home / "a", status=answering(STATUS)), fake_mount(home / "b", status=answering(other)):
        refused(await oaiofs_async("status"), 2, str(home / "a"), str(home / "b"))
        assert json.loads((await oaiofs_async("status", "b", "--json")).stdout)["user"] == "bob"


async def test_watching_gives_a_line_for_each_change_until_the_mount_is_gone(home: Path) -> None:
    answers = iter([STATUS, STATUS, {**STATUS, "pending": 1}])

    async def status(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return next(answers)
        except StopIteration:
            raise errors.NotMounted("It is over.") from None

    async with fake_mount(home / "m", status=status):
        done = await oaiofs_async("status", "--watch")
    assert done.returncode == 3
    assert done.stdout == "online, every change is on the servers\nonline, 1 change pending\n"
    assert done.stderr == "oaiofs: It is over.\n"


async def test_a_reader_that_has_enough_is_no_traceback(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    async with fake_mount(home / "m", status=answering(STATUS)):
        words = command("status")
        done = await trio.run_process(words, stdout=writer, capture_stderr=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_umount_returns_when_the_process_of_the_mount_has_ended(home: Path) -> None:
    heard: list[dict[str, Any]] = []
    process = await trio.lowlevel.open_process(["sleep", "60"])
    reaped = trio.Event()

    async def umount(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        heard.append(dict(arguments))
        process.terminate()
        return {"pending": 2}

    async with trio.open_nursery() as nursery:

        async def reap() -> None:
            await process.wait()
            reaped.set()

        nursery.start_soon(reap)
        async with fake_mount(home / "m", pid=process.pid, umount=umount):
            done = await oaiofs_async("umount", "m", "--flush", "--timeout", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not on the servers yet: 2" in done.stdout
    assert "/root-of-it" in done.stdout
    assert heard == [{"flush": True, "force": False, "timeout": 7.0}]


async def test_umount_that_may_not_yet_says_so(home: Path) -> None:
    late = errors.TimedOut("2 changes are not on the servers after 1 s: it is still mounted.")
    async with fake_mount(home / "m", umount=raising(late)):
        refused(await oaiofs_async("umount", "m", "--flush", "--timeout", "1"), 6, str(late))


def test_umount_leaves_what_is_not_of_oaiofs() -> None:
    refused(oaiofs("umount", "/proc"), 3, "left alone")


_TABLE = rb"""22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /home/al/my\040oaio rw,nosuid - fuse.oaiofs oaiofs rw,user_id=0
31 22 0:31 / /mnt/two rw master:2 propagate_from:1 - fuse.sshfs bob@host:/oaiofs-backup rw
32 22 0:32 / /mnt/two rw - fuse.oaiofs oaiofs rw
"""


def test_the_kernels_table_of_mounts_is_read() -> None:
    found = mountinfo._last(_TABLE, Path("/home/al/my oaio"))
    assert found is not None
    assert found[:3] == (Path("/home/al/my oaio"), "fuse.oaiofs", "oaiofs")
    assert found.is_oaiofs
    covering = mountinfo._last(_TABLE, Path("/mnt/two"))
    assert covering is not None
    assert covering[:3] == (Path("/mnt/two"), "fuse.oaiofs", "oaiofs"), "the last one covers"
    assert covering.device != found.device, "each mount has a device of its own"
    assert mountinfo._last(_TABLE, Path("/mnt")) is None
    root = mountinfo.at(Path("/"))
    assert root is not None
    assert not root.is_oaiofs
    assert not mountinfo.Mounted(Path("/x"), "fuse.sshfs", "bob@host:/oaiofs-backup", "0:9").is_oaiofs
    assert mountinfo.wait_gone(Path("/no/mount"), 0)


def test_mount_options_become_settings_or_go_on_to_fuse() -> None:
    def options(*given: str, **flags: Any) -> dict[str, Any]:
        return mounting._mount_options(given, flags)

    assert options() == {"read_only": None, "allow_other": None, "fuse_options": None}
    assert options("ro,noatime", "max_read=4096,") == {
        "read_only": True,
        "allow_other": None,
        "fuse_options": ("noatime", "max_read=4096"),
    }
    assert options("allow_other,rw", read_only=True)["read_only"] is False
    assert options("noatime", read_only=True, allow_other=True) == {
        "read_only": True,
        "allow_other": True,
        "fuse_options": ("noatime",),
    }
