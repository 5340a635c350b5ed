"""Managing accounts: users and the storage accounts that are handed out."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiofs import errors
from oaiofs.server import Account, service
from tests.serverkit import ServerKit, serving

from .clients import Oaio, Storage, error_of


def test_users(tmp_path: Path) -> None:
    service.add_user(tmp_path, "bob", "pw")
    service.add_user(tmp_path, "Alice", "pw", superuser=True)
    assert service.list_users(tmp_path) == [Account("Alice", True), Account("bob", False)]
    with pytest.raises(errors.Exists, match="bob"):
        service.add_user(tmp_path, "bob", "other")
    service.delete_user(tmp_path, "bob")
    with pytest.raises(errors.NotFound, match="bob"):
        service.delete_user(tmp_path, "bob")
    with pytest.raises(errors.NotFound, match="bob"):
        service.set_password(tmp_path, "bob", "pw")
    assert service.list_users(tmp_path) == [Account("Alice", True)]


@pytest.mark.parametrize(("name", "password"), [("", "pw"), ("x" * 151, "pw"), ("a\nb", "pw"), ("bob", "")])
def test_impossible_users(tmp_path: Path, name: str, password: str) -> None:
    with pytest.raises(errors.UsageError):
        service.add_user(tmp_path, name, password)
    with pytest.raises(errors.UsageError):
        service.set_password(tmp_path, name, "")


def test_each_data_directory_has_its_own_users_in_one_process(tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        if not (tmp_path / name).exists():
            service.add_user(tmp_path / name, f"user of {name}", "pw")
        assert [user.name for user in service.list_users(tmp_path / name)] == [f"user of {name}"]
    assert (tmp_path / "one/secret.key").read_text() != (tmp_path / "two/secret.key").read_text()


def test_a_new_password_ends_the_old_sessions(oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user()
    with Oaio(oaio_server, name, password) as session:
        service.set_password(oaio_server.data, name, "new")
        assert session.get("oaio_stampz/").status_code == 401
        assert session.log_in(password).status_code == 401
        assert session.log_in("new").status_code == 200


def test_a_user_made_by_a_share_gets_a_password(oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user("root", superuser=True)
    with Oaio(oaio_server, name, password) as session:
        made = session.register()
        session.share(made["oaio_id"], f"friend of {name}", "r")
    oaio_server.add_user(f"friend of {name}", "pw")
    with Oaio(oaio_server, f"friend of {name}", "pw") as friend:
        assert list(friend.listing()) == [made["oaio_id"]]


def test_deleting_a_user_of_a_running_server(oaio_server: ServerKit) -> None:
    name, password = oaio_server.fresh_user()
    with Oaio(oaio_server, name, password) as session:
        session.register()
        service.delete_user(oaio_server.data, name)
        assert session.get("oaio_stampz/").status_code == 401


def test_storage_for_all_and_for_one(tmp_path: Path) -> None:
    with serving(tmp_path) as kit:
        accounts = [kit.fresh_user(), kit.fresh_user()]
        service.add_storage(tmp_path, "Digi", "all@test", "pw", "/all")
        service.add_storage(tmp_path, "Digi", "one@test", "pw1", "/one", user=accounts[0][0])
        service.add_storage(tmp_path, "Far", "me@far", "pw2", "root", base_url="https://digistorage.es/")
        with Oaio(kit, *accounts[0]) as one, Oaio(kit, *accounts[1]) as other:
            mine, others = one.get("csh_args/Digi").json(), other.get("csh_args/Digi").json()
            assert (mine["root_folder"], others["root_folder"]) == ("/one", "/all")
            for login in (mine, others):
                assert login["password"] not in ("pw", "pw1"), "the account's own is the administrator's"
                with Storage(kit, login["email"], login["password"]) as storage:
                    assert storage.folder("/", login["root_folder"][1:]).status_code == 201
            far = one.get("csh_args/Far", X_OAIO_features="base-url").json()
            assert (far["email"], far["base_url"]) == ("me@far", "https://digistorage.es")
        for email, password, folder in (("all@test", "pw", "all"), ("one@test", "pw1", "one")):
            with Storage(kit, email, password) as storage:
                assert storage.names("/") == [folder]
        with Storage(kit, "me@far", "pw2").http as http:
            assert error_of(http.get("/api/v2/mounts")) == (401, "Unauthorized")


def test_impossible_storage(tmp_path: Path) -> None:
    for words in (("", "e", "p"), ("Digi", "", "p"), ("Digi", "e", "")):
        with pytest.raises(errors.UsageError):
            service.add_storage(tmp_path, *words, "/")
    with pytest.raises(errors.UsageError, match="another"):
        service.add_storage(tmp_path, "Digi", "oaio-user-1-1", "p", "/")
    with pytest.raises(errors.UsageError):
        service.add_storage(tmp_path, "Digi", "e", "p", "/", quota=-1)
    with pytest.raises(errors.NotFound, match="nobody"):
        service.add_storage(tmp_path, "Digi", "e", "p", "/", user="nobody")


def test_the_data_directory_can_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.StateError, match="file"):
        service.list_users(tmp_path / "file")
