"""The existing client itself as a foreign writer on a real server: says the same words as its twin ``peerkit.Peer``.

``peers`` is a fixture, one process for all its users. Must not know oaiofs' devices. All calls block.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oaiofs.core.model import FILES_KEY, NAME_KEY, OaioId
from tests.serverkit import ServerKit

_DEFAULT = Path(__file__).resolve().parents[1] / ".venv-peer" / "bin" / "python"


def peer_python() -> str:
    """The interpreter of the existing client's environment; skips the test where there is none."""
    path = Path(os.environ.get("OAIOFS_PEER_PYTHON", _DEFAULT))
    if not path.exists():
        pytest.skip(f"the existing client's environment is missing: no {path} (set OAIOFS_PEER_PYTHON)")
    return str(path)


class PeerProcess:
    """Where the existing clients run, one for each name of a device: another one of that name takes its place.

    *folder* is for their log and their user's home.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self._log = folder / "log"
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        with open(self._log, "wb") as errors:
            self.process = subprocess.Popen(
                [python, str(Path(__file__).with_name("peer_process.py"))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8",
                env={**environ, "HOME": str(self.home)},
            )  # fmt: skip

    def ask(self, *command: Any) -> dict[str, Any]:
        """What the client has after the *command*. Fails the test where the client itself has failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"failed": self._log.read_text(errors="replace")[-2000:]}
        assert "failed" not in answer, f"{command}: {answer['failed']}"
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=20)


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    """The process that existing clients run in."""
    running = PeerProcess(peer_python(), tmp_path_factory.mktemp("peer"))
    try:
        yield running
    finally:
        running.close()


class RealPeer:
    """One device that runs the existing client. *offline* counts from the next ``sync`` on."""

    def __init__(
        self, process: PeerProcess, kit: ServerKit, account: tuple[str, str], root: Path, name: str = "peer"
    ) -> None:
        self.name = name
        self.root = root
        self.offline = False
        self.message = ""
        self.objects: dict[OaioId, dict[str, Any]] = {}
        self.files: dict[OaioId, dict[str, bytes]] = {}
        self.last_sync_stamp = ""
        self._process = process
        self._begin = ("open", kit.host, str(root), *account)
        self._cut_off = False
        self._do(*self._begin)

    def named(self, name: str) -> OaioId | None:
        """The object that is called *name* here."""
        found = [i for i, wire in self.objects.items() if wire["client_values"].get(NAME_KEY) == name]
        return found[0] if found else None

    def values(self, name: str) -> dict[str, Any]:
        values: dict[str, Any] = self.objects[self._id(name)]["client_values"]
        return values

    def make(self, name: str, **values: Any) -> OaioId:
        """Register a new object."""
        self._do("register_values", {NAME_KEY: name, **values})
        return self._id(name)

    def register_file(self, path: str, data: bytes) -> None:
        self._do("register_file", path, _as_text(data))

    def register_folder(self, folder: Path) -> None:
        self._do("register", str(folder))

    def unlink(self, name: str, path: str) -> None:
        """Remove a file, and let the client look at what there is."""
        oaio_id = self._id(name)
        (self.root / "filez" / oaio_id / path).unlink()
        self._do("look", oaio_id)
        assert path not in self.objects[oaio_id]["client_values"][FILES_KEY]

    def set_value(self, name: str, key: str, value: Any) -> None:
        self._do("set_value", self._id(name), key, value)

    def write(self, name: str, path: str, data: bytes) -> None:
        oaio_id = self._id(name)
        self._do("write", oaio_id, path, _as_text(data))
        assert path in self.objects[oaio_id]["client_values"][FILES_KEY]

    def call(self, method: str, *arguments: Any) -> Any:
        """What any of the client's public methods returns; an object as its fields."""
        given = [[_as_text(one)] if isinstance(one, bytes) else one for one in arguments]
        return self._do("call", method, *given)["answer"]

    def stored(self, path: str) -> list[str] | None:
        """What the client's storage driver lists in this folder of the host; None where there is none."""
        names: list[str] | None = self._do("stored", path)["answer"]
        return names

    def sync(self) -> None:
        if self.offline and not self._cut_off:
            self._do("cut_off")
        elif self._cut_off and not self.offline:
            # a login that fails masks the client's own copy of the password too: its user has to start it again
            self._do(*self._begin)
        self._cut_off = self.offline
        self._do("sync")
        assert self.offline or "authentication" not in self.message, self.message

    def sync_fully(self) -> None:
        """``sync``, which must succeed."""
        assert self.call("synchronize_with_server_if_online"), self.message

    def _id(self, name: str) -> OaioId:
        oaio_id = self.named(name)
        assert oaio_id is not None
        return oaio_id

    def _do(self, *command: Any) -> dict[str, Any]:
        state = self._process.ask(self.name, *command)
        self.objects = {OaioId(oaio_id): one for oaio_id, one in state["objects"].items()}
        self.files = {
            OaioId(oaio_id): {path: text.encode("utf-8", "surrogateescape") for path, text in files.items()}
            for oaio_id, files in state["files"].items()
        }
        self.message = state["message"]
        self.last_sync_stamp = state["last_sync_stamp"]
        return state


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
