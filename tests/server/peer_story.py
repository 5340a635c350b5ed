"""A day with the existing client; run by the interpreter of its own environment, tells what it saw as JSON.

Arguments: HOST:PORT of the oaio server, a folder for client roots, and two users as NAME PASSWORD NAME PASSWORD.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ae.cloud_storage import DigiApi  # type: ignore[import-not-found]
from ae.oaio_client import OaioClient  # type: ignore[import-not-found]


def main(host: str, folder: str, *accounts: str) -> dict[str, Any]:
    # the driver sets its host itself; this is the only thing that is not as in the field
    DigiApi.base_url = property(lambda self: f"http://{host}", lambda self, value: None)
    alice_name, alice_password, bob_name, bob_password = accounts

    def client(name: str, password: str, device: str) -> OaioClient:
        credentials = {"username": name, "password": password}
        root = os.path.join(folder, f"{name}-{device}")
        return OaioClient(host, credentials, app_id="story", device_id=device, client_root=root)

    def values(client: OaioClient) -> dict[str, Any]:
        return {oaio_id: oaio.client_values for oaio_id, oaio in client.client_objectz.items()}

    def files(client: OaioClient, oaio_id: str) -> dict[str, str]:
        root = os.path.join(client.client_root, "filez", oaio_id)
        found = {}
        for parent, _, names in os.walk(root):
            for name in names:
                path = os.path.join(parent, name)
                with open(path, encoding="utf-8") as file:
                    found[os.path.relpath(path, root)] = file.read()
        return found

    seen: dict[str, Any] = {}
    alice = client(alice_name, alice_password, "desk")
    seen["first sync"] = alice.synchronize_with_server_if_online(), alice.error_message

    note = alice.register_object({"_name": "Größe", "n": 10**30, "list": [1, {"x": None}]})
    letter = alice.register_file("letter.txt", b"dear bob")
    shared_root = os.path.join(folder, "shared files")
    os.makedirs(os.path.join(shared_root, "deep"))
    for name in ("one.txt", "deep/zwölf & 3.txt"):
        with open(os.path.join(shared_root, name), "w", encoding="utf-8") as file:
            file.write(f"content of {name}")
    tree = alice.register_folder(shared_root)
    seen["registered"] = [note is not None, letter is not None, tree is not None, alice.error_message]

    laptop = client(alice_name, alice_password, "laptop")
    laptop.synchronize_with_server_if_online()
    seen["second device"] = values(laptop) == values(alice) and laptop.error_message == ""
    seen["second device's letter"] = files(laptop, letter.oaio_id)
    # the folder object's root is an absolute path on this machine, so the second device wrote the same files again
    with open(os.path.join(shared_root, "deep/zwölf & 3.txt"), encoding="utf-8") as file:
        seen["folder file"] = file.read()

    laptop.update_object(note.oaio_id, {"n": -1})
    laptop.update_file(letter.oaio_id, file_content=b"dear all")
    alice.synchronize_with_server_if_online()
    seen["update came back"] = alice.client_objectz[note.oaio_id].client_values["n"], files(alice, letter.oaio_id)

    # as if the answer to the laptop's upload had been lost
    unheard = laptop.client_objectz[letter.oaio_id]
    unheard.server_stamp, unheard.server_values = letter.client_stamp, letter.client_values
    laptop._save_client_object_info(unheard)
    seen["repeated upload"] = laptop.synchronize_with_server_if_online(), laptop.error_message
    tablet = client(alice_name, alice_password, "tablet")
    tablet.synchronize_with_server_if_online()
    seen["repeated upload came"] = files(tablet, letter.oaio_id)

    bob = client(bob_name, bob_password, "phone")
    bob.synchronize_with_server_if_online()
    seen["bob before"] = len(bob.client_objectz)
    seen["share"] = alice.upsert_subscription(letter.oaio_id, bob_name, "r") > 0
    bob.synchronize_with_server_if_online()
    seen["bob's letter"] = files(bob, letter.oaio_id)
    access = {row["username"]: row["access_right"] for row in alice.userz_access(letter.oaio_id)}
    seen["access"] = access[alice_name], access[bob_name]
    bob.update_object(letter.oaio_id, {"by": "bob"})
    seen["bob's upload refused"] = bob.error_message != ""
    seen["share more"] = alice.upsert_subscription(letter.oaio_id, bob_name, "U") > 0
    seen["bob's upload"] = bob.synchronize_with_server_if_online()
    seen["bob's delete refused"] = bob._delete_server_object(bob.client_objectz[letter.oaio_id])
    seen["unshare"] = alice.unsubscribe(letter.oaio_id, bob_name)
    seen["bob after"] = len(bob._load_server_objectz())

    seen["delete"] = alice.unregister_object(letter.oaio_id, wipe_files=True)
    seen["left"] = sorted(alice._load_server_objectz()) == sorted([note.oaio_id, tree.oaio_id])
    seen["wrong password"] = client(alice_name, "wrong", "x").synchronize_with_server_if_online()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
