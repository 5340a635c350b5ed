"""Limits and progress, on real mounts, the real server and real terminals."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faultproxy import ThreadedProxy, proxy_in_thread
from tests.mount.terminal import Terminal
from tests.mountkit import (
    Account,
    Cloud,
    MountKit,
    MountMaker,
    mounting,
    needs_fuse,
    wait_for,
    wait_same,
    when_asked,
)
from tests.serverkit import ServerKit

pytestmark = needs_fuse

#: Bytes, and how many of them a limited mount moves in a second: long enough to look at on a machine that pauses, short
#: enough to wait for.
SIZE, LIMIT = 320 * 1024, 32 * 1024
CONTENT = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(SIZE // 32))
#: What rich would take for a colour.
OBJECT, FILE = "[red]Photos", "[bold]a.bin"


@pytest.fixture
def slow_up(new_mount: MountMaker, quiet: float) -> MountKit:
    return new_mount("d1", quiet=quiet, arguments=(f"--limit-up={LIMIT}",))


@pytest.fixture
def quick_up(new_mount: MountMaker) -> MountKit:
    """Its upload begins with ``sync`` and takes two seconds: a terminal would show it, and elsewhere no line is due."""
    return new_mount("d1", quiet=60.0, arguments=(f"--limit-up={4 * LIMIT}",))


@pytest.fixture
def proxy(oaio_server: ServerKit) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(oaio_server.url) as proxy:
        yield proxy


def write(kit: MountKit) -> None:
    (kit.path / OBJECT).mkdir()
    (kit.path / OBJECT / FILE).write_bytes(CONTENT)


def transfer(kit: MountKit) -> dict[str, Any]:
    """The one transfer that goes on, once bytes of it have travelled."""
    return wait_for(lambda: next((one for one in kit.status()["transfers"] if one["done"]), None), what="a transfer")


def running(kit: MountKit, *words: str, **environ: str) -> Terminal:
    command = [sys.executable, "-m", "oaiofs", *words]
    return Terminal(command, cwd=kit.folder, env={**kit.environ, "COLUMNS": "", "LINES": "", **environ})


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has no rich."""
    (tmp_path / "rich.py").write_text("raise ImportError('there is no rich')\n")
    return {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}


def test_a_limited_upload_is_shown_while_it_runs_and_arrives(new_mount: MountMaker, cloud: Cloud) -> None:
    kit = new_mount("d1", arguments=(f"--limit-up={LIMIT // 2}",))  # several looks are to find it
    write(kit)
    one = transfer(kit)
    assert (one["object"], one["path"], one["direction"], one["total"]) == (OBJECT, FILE, "up", SIZE)
    assert 0 < one["done"] <= SIZE
    assert kit.shown(OBJECT)["state"] == "pushing"
    brief = kit.ask("status", brief=True)
    assert brief["to_go"] > 0
    assert "objects" not in brief
    text = kit.oaiofs("status").stdout
    assert "Transfers:" in text
    assert f"{OBJECT}/{FILE}" in text
    kit.sync(90)
    assert kit.status()["transfers"] == []
    assert kit.ask("status", brief=True)["moved"] == SIZE
    assert cloud.version(cloud.objects()[OBJECT]) == {FILE: CONTENT}


def test_a_limited_download_is_shown_while_it_runs_and_arrives(
    d1: MountKit, oaio_server: ServerKit, account: Account, proxy: ThreadedProxy
) -> None:
    write(d1)
    d1.sync()
    held = proxy.add("held", "GET", "*/files/get", after=SIZE // 2)
    with mounting(ServerKit(proxy.url, oaio_server.data, oaio_server.pid), account) as make:
        two = make("d2", arguments=(f"--limit-down={2 * LIMIT}",))
        two.sync()
        reader = subprocess.Popen(["cat", two.path / OBJECT / FILE], stdout=subprocess.PIPE)
        try:
            one = transfer(two)
            assert (one["object"], one["path"], one["direction"]) == (OBJECT, FILE, "down")
            assert one["total"] == SIZE
        finally:
            proxy.release(held)
            read, _ = reader.communicate(timeout=60)
        assert read == CONTENT
        wait_same(lambda: two.status()["transfers"], [])


@when_asked
@pytest.mark.parametrize("command", [("sync",), ("umount", "--flush")])
def test_who_waits_at_a_terminal_sees_how_far_it_is(slow_up: MountKit, cloud: Cloud, command: tuple[str, ...]) -> None:
    write(slow_up)
    with running(slow_up, command[0], str(slow_up.path), *command[1:]) as terminal:
        shown = terminal.wait_for(r"\[#+-+\] [0-9.]+ KiB of 320 KiB, [0-9.]+ KiB/s, \d+ s left, 1 object to go")
        assert "[red]" not in shown
        assert terminal.ended(90) == 0
    if command[0] == "umount":
        assert slow_up.ended() == 0
    assert cloud.version(cloud.objects()[OBJECT]) == {FILE: CONTENT}


def test_elsewhere_than_at_a_terminal_only_the_answer_is_said(quick_up: MountKit) -> None:
    write(quick_up)
    done = quick_up.oaiofs("sync", quick_up.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [("--quiet",), ()])
def test_a_terminal_that_is_to_be_quiet_or_without_rich(
    quick_up: MountKit, without_rich: dict[str, str], words: tuple[str, ...]
) -> None:
    write(quick_up)
    environ = {} if words else without_rich
    with running(quick_up, "sync", *words, **environ) as terminal:
        assert terminal.ended() == 0
        assert terminal.screen.decode().splitlines() == [
            f"{quick_up.path}: every change is on the servers, and every one of theirs is known here."
        ]


@pytest.fixture(params=["rich", "plain"])
def environ(request: pytest.FixtureRequest, without_rich: dict[str, str]) -> dict[str, str]:
    return {} if request.param == "rich" else without_rich


def test_watching_shows_transfers_until_ctrl_c(slow_up: MountKit, environ: dict[str, str]) -> None:
    with running(slow_up, "status", "--watch", **environ) as terminal:
        terminal.wait_for("every change is on the servers")
        write(slow_up)
        terminal.wait_for(r"Transfers:\s+\[red\]Photos/\[bold\]a.bin +up +\[#*-*\] +\d+% ")
        terminal.wait_for("every change is on the servers")
        terminal.type("\x03")
        assert terminal.ended() == 0
        assert "Traceback" not in terminal.screen.decode()
    slow_up.sync()


def test_watching_ends_with_the_mount_and_says_so(d1: MountKit, environ: dict[str, str]) -> None:
    with running(d1, "status", "--watch", **environ) as terminal:
        terminal.wait_for("every change is on the servers")
        d1.stop()
        assert terminal.ended() == 3
        assert f"oaiofs: The mount at {d1.path} ended" in terminal.screen.decode().replace("\r\n", "")


def test_a_narrow_terminal_without_colours(slow_up: MountKit, environ: dict[str, str]) -> None:
    with running(slow_up, "status", "--watch", NO_COLOR="1", **environ) as terminal:
        terminal.resize(rows=20, columns=30)
        terminal.wait_for("online, every")
        write(slow_up)
        terminal.wait_for(r"Transfers:\s+\S*…\S+ +up +\d+%\s")
        assert b"\x1b[31m" not in terminal.raw
        terminal.type("\x03")
        assert terminal.ended() == 0
    slow_up.sync()


def test_output_that_can_not_say_every_letter(d1: MountKit) -> None:
    (d1.path / "Größe 日本").mkdir()
    d1.sync()
    d1.environ["PYTHONIOENCODING"] = "ascii"
    d1.fresh = True
    done = d1.oaiofs("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Gr??e ??" in done.stdout
    whole = d1.oaiofs("status", "--json")
    assert (whole.returncode, '"Gr\\u00f6\\u00dfe \\u65e5\\u672c"' in whole.stdout) == (0, True)
    assert os.path.isdir(d1.path / "Größe 日本")
