"""Accounts by the command line, on a real server: logging in to one, and running one."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clikit import command, home, oaiofs, private, refused
from tests.serverkit import ServerKit, oaio_server

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home", "oaio_server"]

pytestmark = pytest.mark.usefixtures("home")


def test_login_checks_and_remembers(home: Path, oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user("alice")
    good, bad = private(home / "good", password), private(home / "bad", "not the password")
    refused(oaiofs("login", oaio_server.host, "--user", name, "--password-file", bad), 4, name)
    refused(oaiofs("login", oaio_server.host, "--user", name), 4, "--password-file")
    assert not (home / "config").exists()
    done = oaiofs("login", oaio_server.host, "--user", name, "--password-file", good)
    assert (done.returncode, done.stderr) == (0, "")
    accounts = home / "config" / "oaiofs" / "accounts.json"
    assert str(accounts) in done.stdout
    assert password not in done.stdout
    assert stat.S_IMODE(accounts.stat().st_mode) == 0o600
    assert json.loads(accounts.read_text()) == {
        "accounts": [{"server": oaio_server.url, "user": name, "password": password}]
    }
    other, its_password = oaio_server.fresh_user("bob")
    assert oaiofs("login", oaio_server.url, "--user", other, OAIOFS_PASSWORD=its_password).returncode == 0
    assert len(json.loads(accounts.read_text())["accounts"]) == 2


def test_login_where_nobody_is_and_where_it_would_be_heard(home: Path) -> None:
    with socket.socket() as deaf:  # taken, but nobody listens: it refuses
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        refused(oaiofs("login", f"localhost:{port}", "--user", "u", OAIOFS_PASSWORD="s3cret"), 5, f"localhost:{port}")
    refused(oaiofs("login", "http://oaio.example.org", "--user", "u", OAIOFS_PASSWORD="s3cret"), 2, "--insecure")
    shared = private(home / "pw", "s3cret")
    shared.chmod(0o644)
    refused(oaiofs("login", "localhost:1", "--user", "u", "--password-file", shared), 2, f"chmod 600 {shared}")


def test_login_asks_at_a_terminal_and_shows_nothing_of_it(home: Path, oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user("carol")
    terminal, users_end = pty.openpty()
    process = subprocess.Popen(
        command("login", oaio_server.host, "--user", name),
        stdin=users_end,
        stdout=users_end,
        stderr=users_end,
        start_new_session=True,
    )
    os.close(users_end)
    said = b""
    while not said.endswith(b": "):
        said += os.read(terminal, 1000)
    os.write(terminal, password.encode() + b"\n")
    while part := _read(terminal):
        said += part
    os.close(terminal)
    assert process.wait(30) == 0
    assert f"Password of {name}" in said.decode()
    assert "Logged in" in said.decode()
    assert password not in said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # EIO: the other end is closed
        return b""


def test_a_server_of_ones_own(home: Path) -> None:
    data, password = home / "server", private(home / "pw", "s3cret")
    assert oaiofs("server", "adduser", "alice", "--password-file", password, "--data", data).returncode == 0
    assert oaiofs("server", "adduser", "root", "--superuser", "--data", data, OAIOFS_PASSWORD="x").returncode == 0
    assert oaiofs("server", "users", "--data", data).stdout == "alice\nroot  (superuser)\n"
    refused(oaiofs("server", "adduser", "bob", "--data", data), 2, "--password-file")
    refused(oaiofs("server", "adduser", "alice", "--data", data, OAIOFS_PASSWORD="x"), 1, "alice")
    refused(oaiofs("server", "deluser", "carol", "--data", data), 1, "carol")
    storage = ["server", "addstorage", "Digi", "--email", "a@b", "--password-file", password, "--data", data]
    assert oaiofs(*storage, "--quota", "20M").returncode == 0
    refused(oaiofs(*storage, "--quota", "much"), 2, "--quota", "like 20G")
    refused(oaiofs(*storage, "--user", "carol"), 1, "carol")

    with subprocess.Popen(
        command("server", "run", "--port", "0", "--data", data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().partition(" at ")[2].partition(";")[0]
        try:
            done = oaiofs("login", url, "--user", "alice", "--password-file", password)
            assert (done.returncode, done.stderr) == (0, "")
            assert oaiofs("server", "passwd", "alice", "--data", data, OAIOFS_PASSWORD="new").returncode == 0
            refused(oaiofs("login", url, "--user", "alice", "--password-file", password), 4)
            assert oaiofs("server", "deluser", "alice", "--data", data).returncode == 0
            refused(oaiofs("login", url, "--user", "alice", OAIOFS_PASSWORD="new"), 4)
            refused(oaiofs("server", "run", "--port", "0", "--data", data), 1, str(data))
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
