"""The existing client (ae_oaio_client 0.3.19), as it is, at the end of a pipe; run by its own interpreter.

Takes a JSON line for each command, ``[DEVICE, VERB, ARGUMENTS...]``, and answers with one: what that device's client
then has, or what went wrong. ``open`` comes first, and again for another user of the device. Bytes travel as text, with
lone surrogates for what is not UTF-8. Nothing here of oaiofs.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from ae.cloud_storage import DigiApi  # type: ignore[import-not-found]
from ae.oaio_client import OaioClient  # type: ignore[import-not-found]


class Desk:
    """One user at one device."""

    def __init__(self, host: str, root: str, device: str, user: str, password: str) -> None:
        # the driver sets its host itself; this is the only thing that is not as in the field
        DigiApi.base_url = property(lambda self: f"http://{host}", lambda self, value: None)
        credentials = {"username": user, "password": password}
        self.client = OaioClient(host, credentials, app_id="story", device_id=device, client_root=root)
        self.answer: Any = None

    def cut_off(self, address: str) -> None:
        """Without a network: nobody listens at *address*."""
        self.client.base_url = f"http://{address}/api/"

    def sync(self) -> None:
        self.client.synchronize_with_server_if_online()

    def set_value(self, oaio_id: str, key: str, value: Any) -> None:
        self.client.update_object(oaio_id, {key: value})

    def register(self, folder: str) -> None:
        self.client.register_folder(folder)
        self.sync()

    def register_values(self, values: dict[str, Any]) -> None:
        self.client.register_object(values)

    def register_file(self, path: str, text: str) -> None:
        self.client.register_file(path, as_bytes(text))

    def look(self, oaio_id: str) -> None:
        """At what became of the object's files."""
        self.client.update_folder(oaio_id)

    def write(self, oaio_id: str, path: str, text: str) -> None:
        target = os.path.join(self._folder(oaio_id), path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(as_bytes(text))
        self.client.update_folder(oaio_id)

    def call(self, method: str, *arguments: Any) -> None:
        """Any of the client's public methods: [text] stands for that text's bytes, the answer comes with the state."""
        given = [as_bytes(one[0]) if isinstance(one, list) else one for one in arguments]
        answer = getattr(self.client, method)(*given)
        self.answer = vars(answer) if hasattr(answer, "oaio_id") else answer

    def stored(self, path: str) -> None:
        """The answer is what the client's own storage driver lists in this folder of the host, or None."""
        self.answer = self.client._csh_api("Digi").list_dir(path)

    def state(self) -> dict[str, Any]:
        return {
            "objects": {oaio_id: vars(one) for oaio_id, one in self.client.client_objectz.items()},
            "files": {oaio_id: self._files(oaio_id) for oaio_id in self.client.client_objectz},
            "message": self.client.error_message,
            "answer": self.answer,
            "last_sync_stamp": self.client.last_sync_stamp,
        }

    def _folder(self, oaio_id: str) -> str:
        return os.path.join(self.client.client_root, "filez", oaio_id)

    def _files(self, oaio_id: str) -> dict[str, str]:
        root = self._folder(oaio_id)
        found = {}
        for parent, _, names in os.walk(root):
            for name in names:
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read().decode("utf-8", "surrogateescape")
        return found


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the client prints
    nobody = socket.socket()  # bound and not listening: connections are refused
    nobody.bind(("127.0.0.1", 0))
    nowhere = f"127.0.0.1:{nobody.getsockname()[1]}"
    desks: dict[str, Desk] = {}
    for line in sys.stdin:
        device, verb, *arguments = json.loads(line)
        try:
            if verb == "open":
                host, root, *account = arguments
                desks[device] = Desk(host, root, device, *account)
            elif verb == "cut_off":
                desks[device].cut_off(nowhere)
            else:
                getattr(desks[device], verb)(*arguments)
            answer = desks[device].state()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
