"""The socket of a running mount: both ends for real, in one process or two."""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from oaiofs import control, errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as base:  # pytest's own folders may be too long for a socket's name
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        yield Path(base, "oaiofs")


def a_mount(mountpoint: Path, pid: int = 0) -> control.RunningMount:
    return control.RunningMount(
        mountpoint=mountpoint,
        pid=pid or os.getpid(),
        client_root=mountpoint.parent / "root",
        server="https://oaio.example.org",
        user="alice",
    )


async def echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"heard": dict(arguments)}


@asynccontextmanager
async def serving(mount: control.RunningMount, **handlers: control.Handler) -> AsyncIterator[trio.CancelScope]:
    """A mount that answers; yields the scope that ends it."""
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await control.serve(mount, handlers or {"echo": echo}, task_status=task_status)

        await nursery.start(run)
        yield scope
        scope.cancel()


async def call(
    mount: control.RunningMount, verb: str, timeout: float | None = None, **arguments: Any
) -> dict[str, Any]:
    return await trio.to_thread.run_sync(lambda: control.call(mount, verb, timeout, **arguments))


async def test_arguments_go_there_and_the_answer_comes_back(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        answer = await call(mount, "echo", 3.5, path="a/ü", deep={"list": [1, None, True]})
    assert answer == {"heard": {"timeout": 3.5, "path": "a/ü", "deep": {"list": [1, None, True]}}}


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    objects = [{"id": "ü" * 300, "number": number} for number in range(10_000)]

    async def status(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"objects": objects}

    async with serving(mount, status=status):
        assert (await call(mount, "status"))["objects"] == objects


@pytest.mark.parametrize(
    "error",
    [
        errors.TimedOut("3 changes are still pending."),
        errors.Unauthorized("Log in again."),
        errors.Refused("12 objects would go: say --yes."),
        errors.InvalidSidecar("no JSON", line=3),
        errors.RateLimited("wait", retry_after=2),
    ],
)
async def test_what_the_mount_refuses_is_raised_at_the_caller(tmp_path: Path, error: errors.OaiofsError) -> None:
    mount = a_mount(tmp_path / "m")

    async def refuse(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        raise error

    async with serving(mount, refuse=refuse):
        with pytest.raises(type(error)) as caught:
            await call(mount, "refuse")
    assert str(caught.value) == str(error)
    assert caught.value.exit_code == error.exit_code


@pytest.mark.logs_errors
@pytest.mark.parametrize("answer", ["bug", "unencodable"])
async def test_a_bug_in_a_handler_is_answered_and_logged_and_the_mount_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    mount = a_mount(tmp_path / "m")

    async def bug(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if answer == "unencodable":
            return {"object": object()}
        raise KeyError("secret detail")

    async with serving(mount, bug=bug, echo=echo):
        with pytest.raises(errors.OaiofsError, match="met a bug") as caught:
            await call(mount, "bug")
        assert await call(mount, "echo") == {"heard": {}}
    assert type(caught.value) is errors.OaiofsError
    assert "secret detail" not in str(caught.value)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        with pytest.raises(errors.UsageError, match="'dance'"):
            await call(mount, "dance")


async def raw(mount: control.RunningMount, request: bytes) -> bytes:
    stream = await trio.open_unix_socket(str(control.socket_path(mount.mountpoint)))
    async with stream:
        try:
            await stream.send_all(request)
        except trio.BrokenResourceError:
            pass  # answered and closed before it had read all of it
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = await stream.receive_some()
            if not chunk:
                break
            answer += chunk
        return answer


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"verb": 3}\n',
        b'{"verb": "echo", "arguments": {}, "more": 1}\n',
        b'{"verb": "echo", "arguments": []}\n',
        b'{"verb": "\xff"}\n',
        b"[" * 5000 + b"\n",
        b'{"verb": "' + b"x" * 65_536 + b'"}\n',
    ],
)
async def test_a_request_that_is_none_is_answered_with_an_error(tmp_path: Path, request_line: bytes) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        answer = json.loads(await raw(mount, request_line))
        assert answer["error"]["class"] == "UsageError"
        assert answer["error"]["exit_code"] == 2
        assert await call(mount, "echo") == {"heard": {}}


async def test_work_stops_when_whoever_asked_goes_away(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    begun, ended = trio.Event(), trio.Event()

    async def long(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError("unreachable")

    async with serving(mount, long=long):
        stream = await trio.open_unix_socket(str(control.socket_path(mount.mountpoint)))
        await stream.send_all(b'{"verb": "long", "arguments": {}}\n')
        await begun.wait()
        await stream.aclose()
        with trio.fail_after(60):
            await ended.wait()


async def test_a_mount_that_ends_slowly_leaves_the_next_ones_socket_alone(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    begun, enough = trio.Event(), trio.Event()

    async def slow(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        with trio.CancelScope(shield=True):
            begun.set()
            await enough.wait()
        return {}

    async def hello(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"it is": "the next one"}

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        ended = trio.Event()

        async def first(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await control.serve(mount, {"slow": slow}, task_status=task_status)
            ended.set()

        await nursery.start(first)
        stream = await trio.open_unix_socket(str(control.socket_path(mount.mountpoint)))
        await stream.send_all(b'{"verb": "slow", "arguments": {}}\n')
        await begun.wait()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(functools.partial(control.serve, mount, {"hello": hello}))
        enough.set()
        await ended.wait()
        await stream.aclose()
        (found,) = control.running()
        assert await trio.to_thread.run_sync(control.call, found, "hello", 20.0) == {"it is": "the next one"}
        nursery.cancel_scope.cancel()


async def test_a_mount_ends_in_order_where_the_names_can_not_be_locked_any_more(runtime: Path, tmp_path: Path) -> None:
    async with serving(a_mount(tmp_path / "m")):
        (runtime / "lock").unlink()
        (runtime / "lock").symlink_to("elsewhere")


async def test_the_verb_that_ends_the_mount_is_still_answered(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    scopes: list[trio.CancelScope] = []

    async def umount(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        scopes[0].cancel()
        return {"pending": 2}

    async with serving(mount, umount=umount) as scope:
        scopes.append(scope)
        assert await call(mount, "umount") == {"pending": 2}


async def test_a_mount_that_ends_without_an_answer_is_not_mounted(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")

    scopes: list[trio.CancelScope] = []

    async def dies(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        scopes[0].cancel()
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async with serving(mount, dies=dies) as scope:
        scopes.append(scope)
        with pytest.raises(errors.NotMounted, match="ended before it answered"):
            await call(mount, "dies")


def test_a_mount_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_GRACE", 0.0)
    mount = a_mount(tmp_path / "m")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(control.socket_path(mount.mountpoint)))
        silent.listen()
        with pytest.raises(errors.TimedOut, match="did not answer"):
            control.call(mount, "status", 0.05)


def test_an_answer_of_another_version_is_named_so() -> None:
    with pytest.raises(errors.Protocol, match="another version"):
        control.result(b'{"result": 3}\n')
    with pytest.raises(errors.OaiofsError, match="Too new") as caught:
        control.result(b'{"error": {"class": "Unheard", "message": "Too new.", "exit_code": 9}}\n')
    assert caught.value.exit_code == 9
    with pytest.raises(errors.OaiofsError, match="odd"):
        control.result(b'{"error": {"class": "__all__", "message": "odd", "exit_code": 1}}\n')


async def test_socket_and_folder_are_private(tmp_path: Path, runtime: Path) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        assert runtime.stat().st_mode & 0o777 == 0o700
        assert control.socket_path(mount.mountpoint).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_not_even_read(tmp_path: Path, runtime: Path) -> None:
    mount = a_mount(tmp_path / "m")
    heard: list[str] = []

    async def secret(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        heard.append("called")
        return {}

    ask = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
os.chdir(os.path.dirname(sys.argv[1]))
os.setuid(65534)
s.connect(os.path.basename(sys.argv[1]))
try:
    s.sendall(b'{"verb": "secret", "arguments": {}}\\n')
    print(repr(s.recv(100)))
except ConnectionError:
    print("b''")
"""
    async with serving(mount, secret=secret):
        path = control.socket_path(mount.mountpoint)
        path.chmod(0o666)  # as if the protections of the file system had been undone
        runtime.chmod(0o755)
        done = await trio.run_process([sys.executable, "-c", ask, str(path)], capture_stdout=True)
    assert done.stdout.strip() == b"b''"
    assert heard == []


def test_a_folder_that_others_could_use_is_refused(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    runtime.chmod(0o755)
    with pytest.raises(errors.StateError, match=str(runtime)):
        control.runtime_dir()


def test_a_symlink_in_place_of_the_folder_is_refused(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.StateError, match=str(runtime)):
        control.runtime_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_of_somebody_else_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, 65534, 65534)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(other))
    assert not control.runtime_dir().is_relative_to(other)
    assert not any(other.iterdir())


def test_a_socket_name_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(errors.ConfigError, match="XDG_RUNTIME_DIR"):
        control.socket_path(tmp_path)


async def test_mounts_are_found_by_mountpoint_by_path_and_alone(tmp_path: Path) -> None:
    outer, inner = a_mount(tmp_path / "m"), a_mount(tmp_path / "m" / "deep" / "inner")
    with pytest.raises(errors.NotMounted, match="No oaiofs mount"):
        control.find()
    async with serving(outer):
        assert control.running() == [outer]
        assert control.find() == outer
        async with serving(inner):
            assert control.running() == [outer, inner]
            assert control.find(mountpoint=inner.mountpoint) == inner
            assert control.find(path=outer.mountpoint / "notes" / "a.txt") == outer
            assert control.find(path=inner.mountpoint / "x") == inner
            assert control.find(path=inner.mountpoint) == inner
            with pytest.raises(errors.UsageError) as caught:
                control.find()
            assert str(outer.mountpoint) in str(caught.value)
            assert str(inner.mountpoint) in str(caught.value)
            with pytest.raises(errors.NotMounted, match="other"):
                control.find(mountpoint=tmp_path / "other")
            with pytest.raises(errors.NotMounted, match="m-too"):
                control.find(path=tmp_path / "m-too")
    assert control.running() == []


async def test_a_relative_path_and_one_through_a_symlink_lead_to_the_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = a_mount(tmp_path / "m")
    mount.mountpoint.mkdir()
    (tmp_path / "link").symlink_to(mount.mountpoint)
    monkeypatch.chdir(tmp_path)
    async with serving(mount):
        assert control.find(path=Path("m/x")) == mount
        assert control.find(path=Path("link/x")) == mount
        assert control.find(mountpoint=Path("link")) == mount


async def test_a_second_mount_at_the_same_place_is_refused_and_leaves_the_first(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        with pytest.raises(errors.Busy, match="already mounted"):
            await control.serve(mount, {"echo": echo})
        assert await call(mount, "echo") == {"heard": {}}


_CLAIM_AND_DIE = """
import os, sys
from pathlib import Path
from oaiofs import control
mount = control.RunningMount(
    mountpoint=Path(sys.argv[1]), pid=os.getpid(), client_root=Path("/r"), server="https://s", user="u"
)
listening = control._claim(mount, control.socket_path(mount.mountpoint))
os._exit(9)
"""


def killed_mount(mountpoint: Path) -> None:
    """What a mount leaves behind that got no chance to clean up."""
    done = subprocess.run([sys.executable, "-c", _CLAIM_AND_DIE, str(mountpoint)], check=False)
    assert done.returncode == 9


async def test_what_a_killed_mount_left_is_cleaned_and_its_place_is_free(tmp_path: Path, runtime: Path) -> None:
    killed_mount(tmp_path / "m")
    assert len([*runtime.glob("*.sock"), *runtime.glob("*.json")]) == 2
    with pytest.raises(errors.NotMounted):
        control.call(a_mount(tmp_path / "m"), "echo")
    assert control.running() == []
    assert [entry.name for entry in runtime.iterdir()] == ["lock"]
    killed_mount(tmp_path / "m")
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        assert await call(mount, "echo") == {"heard": {}}
    assert [entry.name for entry in runtime.iterdir()] == ["lock"]


async def test_a_damaged_record_of_a_living_mount_does_not_hide_the_others(tmp_path: Path) -> None:
    damaged, good = a_mount(tmp_path / "a"), a_mount(tmp_path / "b")
    async with serving(damaged), serving(good):
        control.socket_path(damaged.mountpoint).with_suffix(".json").write_text("{")
        assert control.running() == [good]
        assert control.socket_path(damaged.mountpoint).exists(), "it lives: not ours to clean"


async def test_a_path_that_is_no_unicode_goes_there_and_back(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    async with serving(a_mount(odd)):
        assert control.running() == [a_mount(odd)]
        assert await call(control.find(), "echo", path=str(odd)) == {"heard": {"path": str(odd)}}


async def test_a_record_holds_no_more_than_it_should(tmp_path: Path) -> None:
    mount = a_mount(tmp_path / "m")
    async with serving(mount):
        record = json.loads(control.socket_path(mount.mountpoint).with_suffix(".json").read_text())
    assert sorted(record) == ["client_root", "mountpoint", "pid", "server", "user"]


FACTS = '{"mountpoint": "/m", "client_root": "/r", "server": "s", "user": "u", "pid": '


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"mountpoint": 5}', b"\xed\xa0\x80", b"\xff", b"x" * 10_000_000,
     f"{FACTS}1e999}}".encode(), f"{FACTS}{'9' * 5000}}}".encode()],
)  # fmt: skip
def test_a_hostile_record_is_cleaned_away(runtime: Path, text: bytes) -> None:
    folder = control.runtime_dir()
    record = folder / "planted.json"
    record.write_bytes(text)
    assert control.running() == []
    assert not record.exists()


async def test_all_is_private_whatever_the_umask(tmp_path: Path, runtime: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(a_mount(tmp_path / "mnt")):
            folder = control.runtime_dir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)
    assert modes == {".sock": 0o600, ".json": 0o600, "": 0o600}


def test_a_link_planted_as_a_record_is_not_written_through(tmp_path: Path, runtime: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    record = control.socket_path(tmp_path / "mnt").with_suffix(".json")
    record.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        control._claim(a_mount(tmp_path / "mnt"), record.with_suffix(".sock"))
    assert victim.read_text() == "precious"
