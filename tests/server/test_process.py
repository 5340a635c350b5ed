"""The server as a process: start, orderly end, the parent's death, restart, one server per data directory."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oaiofs import errors
from oaiofs.server import process, service
from oaiofs.server.passwords import COST_VARIABLE
from tests.serverkit import PATIENCE, serving

from .clients import Oaio, Storage, stamp

_ROOT = Path(__file__).resolve().parents[2]


def _ends(pid: int, seconds: float = 60.0) -> bool:
    """Whether the process, which need not be a child of this one, ends in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


async def test_running_serves_for_as_long_as_the_block(tmp_path: Path) -> None:
    async with process.running(tmp_path) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        assert url.startswith("http://127.0.0.1:")
        assert (await http.get("/api/login/")).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/login/", timeout=PATIENCE)


async def test_running_tells_why_it_could_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.StateError, match="data directory"):
        async with process.running(tmp_path / "file"):
            pytest.fail("runs on a file")


async def test_running_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(errors.StateError, match="listen"):
        async with process.running(tmp_path, taken.getsockname()[1]):
            pytest.fail("listens on a taken port")


def test_restart_keeps_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as kit:
        name, password = kit.fresh_user()
        with Oaio(kit, name, password) as session:
            made = session.register({"n": 1})
            session.post("upload/", made | {"client_stamp": stamp(2), "client_values": {"n": 2}})
            account = session.get("csh_args/Digi").json()
            cookie = session.http.cookies["sessionid"]
        storage = Storage(kit, account["email"], account["password"])
        with storage.http:
            storage.folder("/", "oaio")
            storage.folder("/oaio", "d")
            record = storage.put("/oaio/d", "n", b"x", modified=5).json()
    with serving(tmp_path) as kit:
        with Oaio(kit, name, password) as session:
            assert session.listing()[made["oaio_id"]]["client_values"] == {"n": 2}
            assert session.get("csh_args/Digi").json() == account
        again = httpx.get(f"{kit.url}/api/oaio_stampz/", cookies={"sessionid": cookie}, timeout=PATIENCE)
        assert again.status_code == 200, "a session outlives the server"
        storage = Storage(kit, account["email"], account["password"])
        with storage.http:
            assert storage.call("GET", "info", "/oaio/d/n").json() == record


def test_everything_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as kit:
        kit.fresh_user()
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert {"oaio.sqlite3", "oaio.sqlite3-wal", "secret.key", "storage", "tmp"} <= set(modes)
    assert {name for name, mode in modes.items() if mode & 0o077} <= {"storage", "tmp"}, modes


def test_what_a_crash_left_on_its_way_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tmp/removed-x/deep").mkdir(parents=True)
    (tmp_path / "tmp/put-x").touch()
    with serving(tmp_path):
        assert list((tmp_path / "tmp").iterdir()) == []


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    with serving(tmp_path):
        second = process.spawn(tmp_path)
        with pytest.raises(errors.StateError, match="Another server"):
            second.wait_ready()
        assert second.process.wait(PATIENCE) == errors.Busy.exit_code
        second.stop()


def test_a_killed_parent_takes_the_server_along(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from oaiofs.server import process\n"
        "child = process.spawn(Path(sys.argv[1])); child.wait_ready(); print(child.process.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.kill()
        assert _ends(server)


def test_a_request_at_work_is_answered_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COST_VARIABLE, "15")
    with serving(tmp_path) as kit:
        name, password = kit.fresh_user()
        with Oaio(kit, name, password, log_in=False) as session:
            session.get("login/")
            answers: list[httpx.Response] = []
            # the check of a password takes long enough to be at work when the signal comes
            thread = threading.Thread(target=lambda: answers.append(session.log_in(password)))
            before = _used(kit.pid)
            thread.start()
            while thread.is_alive() and _used(kit.pid) < before + 3:
                time.sleep(0.002)
            os.kill(kit.pid, signal.SIGTERM)
            thread.join()
        assert [answer.status_code for answer in answers] == [200]
        assert _ends(kit.pid)


def _used(pid: int) -> int:
    """Processor time of a process so far, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_large_files_stay_out_of_memory(tmp_path: Path) -> None:
    size, chunk = 96 * 1024 * 1024, b"x" * 1024 * 1024
    with serving(tmp_path) as kit:
        with Oaio(kit, *kit.fresh_user()) as session:
            account = session.get("csh_args/Digi").json()
        storage = Storage(kit, account["email"], account["password"])
        with storage.http:
            storage.folder("/", "oaio")
            storage.folder("/oaio", "d")
            before = _peak_memory(kit.pid)
            spools: set[str] = set()

            def chunks() -> Iterator[bytes]:
                for _ in range(size // len(chunk)):
                    yield chunk
                spools.update(_spools(kit.pid))

            record = storage.put_raw("/oaio/d", chunks(), filename="big").json()
            assert spools == {str(tmp_path / "tmp")}, "on the disk of the data, not where temporary files are memory"
            assert record["size"] == size
            with (tmp_path / "storage").joinpath(_mount(storage), "oaio/d/big").open("rb") as big:
                url = "/content/api/v2/mounts/primary/files/put"
                answer = storage.http.post(url, params={"path": "/oaio/d"}, files={"file": ("copy", big)})
                assert answer.json() == [{"name": "copy"}]
            total = 0
            with storage.http.stream(
                "GET", "/content/api/v2/mounts/primary/files/get", params={"path": "/oaio/d/copy"}
            ) as answer:
                for part in answer.iter_raw():
                    total += len(part)
            assert total == size
            assert _peak_memory(kit.pid) - before < 40 * 1024, "KiB more at the peak"


def _spools(pid: int) -> Iterator[str]:
    """The folders of the nameless files that the process has opened itself."""
    for entry in os.scandir(f"/proc/{pid}/fd"):
        if entry.name == "2":  # inherited: where pytest collects messages
            continue
        with contextlib.suppress(FileNotFoundError):
            folder, _, name = os.readlink(entry.path).rpartition("/")
            if name.endswith("(deleted)"):
                yield folder


def _mount(storage: Storage) -> str:
    return str(storage.http.get("/api/v2/mounts").json()["mounts"][0]["id"])


def _peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_run_in_this_process_listens_where_it_is_told(tmp_path: Path) -> None:
    """In a thread there are no signals: so the server runs in a child that sends itself one when it is ready."""
    program = (
        "import os, signal, sys; from pathlib import Path; from oaiofs.server import service\n"
        "def ready(host, port):\n"
        "    print(host, port, flush=True)\n"
        "    service.add_user(Path(sys.argv[1]), 'while', 'serving')\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "service.run(Path(sys.argv[1]), '127.0.0.1', 0, ready=ready)\n"
        "print('ended')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first.startswith("127.0.0.1 ")
    assert last == "ended"
    assert [user.name for user in service.list_users(tmp_path)] == ["while"]


def test_behind_a_trusted_proxy_the_outer_address_counts(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from oaiofs.server import service\n"
        "data = Path(sys.argv[1]); service.add_user(data, 'a', 'pw')\n"
        "def ready(host, port): print(port, flush=True)\n"
        "service.run(data, ready=ready, allowed_hosts=['oaio.example'], trusted_proxy='127.0.0.1')"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        outer = {"X-Forwarded-Host": "oaio.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
        with httpx.Client(
            base_url=f"{url}/api/", headers={**outer, "Referer": "https://oaio.example/"}, timeout=PATIENCE
        ) as http:
            token = http.get("login/").cookies["csrftoken"]
            login = {"username": "a", "password": "pw"}
            assert http.post("login/", json=login, headers={"X-CSRFToken": token}).status_code == 200
            account = http.get("csh_args/Digi", headers={"X-OAIO-features": "base-url"}).json()
            assert account["base_url"] == "https://oaio.example"
            foreign = {"X-Forwarded-Host": "evil.example"}
            assert http.get("login/", headers=foreign).status_code == 400
        server.terminate()
    assert server.returncode == 0


def test_without_the_extra_the_error_tells_the_command() -> None:
    program = (
        "import sys\n"
        "class Without:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return None if name in ('django', 'waitress') else self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]\n"
        "from pathlib import Path\n"
        "from oaiofs import errors\n"
        "from oaiofs.server import process, service\n"
        "for call in (service.run, service.list_users, process.spawn):\n"
        "    try: call(Path('/nowhere'))\n"
        "    except errors.UsageError as error: print(error)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("pip install 'oaiofs[server]'") == 3
