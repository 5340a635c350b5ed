"""Settings from their layers, and the errors that help to get them right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from oaiofs import config, credentials, errors
from oaiofs.core.names import LOCAL_ONLY
from oaiofs.credentials import Account, Secret

MOUNTPOINT = Path("/mnt/oaio")
FLAGS = {"server": "oaio.example.org", "user": "alice"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


def write(home: Path, text: str) -> Path:
    path = home / "config" / "oaiofs" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(flags: dict[str, Any] | None = None, **environ: str) -> config.Settings:
    environ = {"OAIOFS_PASSWORD": "pw", **environ}
    return config.load(MOUNTPOINT, FLAGS if flags is None else flags, environ=environ)


def test_defaults(home: Path) -> None:
    settings = load()
    assert settings.mountpoint == MOUNTPOINT
    assert settings.server == "https://oaio.example.org"
    assert settings.user == "alice"
    assert settings.password == Secret("pw")
    assert settings.client_root == home / "data" / "oaiofs" / "alice@oaio.example.org"
    assert settings.device_id
    assert (settings.app_id, settings.csh_id, dict(settings.storage_urls)) == ("oaiofs", "Digi", {})
    assert (settings.poll_interval, settings.quiet_time, settings.longest_quiet) == (15.0, 2.0, 30.0)
    assert (settings.cache_size, settings.shutdown_timeout, settings.verbose) == (0, 10.0, 0)
    assert (settings.limit_up, settings.limit_down) == (0, 0)
    assert (settings.read_only, settings.allow_other, settings.insecure) == (False, False, False)
    assert settings.fuse_options == ()
    assert settings.local_only == LOCAL_ONLY


def test_settings_show_no_password_and_never_change() -> None:
    settings = load()
    assert "pw" not in repr(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.user = "bob"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.storage_urls["Digi"] = "x"  # type: ignore[index]


def test_each_layer_is_above_the_one_before(home: Path) -> None:
    general = 'server = "oaio.example.org"\nuser = "alice"\n'
    own = '[[accounts]]\nserver = "https://oaio.example.org/"\nuser = "alice"\n'
    assert load({}, OAIOFS_SERVER="oaio.example.org", OAIOFS_USER="alice").poll_interval == 15
    write(home, general + "poll_interval = 20\n")
    assert load({}).poll_interval == 20
    write(home, general + "poll_interval = 20\n" + own + "poll_interval = 25.5\n")
    assert load({}).poll_interval == 25.5
    assert load({}, OAIOFS_POLL_INTERVAL="30").poll_interval == 30
    assert load({"poll_interval": 0.5}, OAIOFS_POLL_INTERVAL="30").poll_interval == 0.5
    assert load({"poll_interval": None}, OAIOFS_POLL_INTERVAL="30").poll_interval == 30


def test_lists_and_tables_of_all_layers_count(home: Path) -> None:
    write(
        home,
        'local_only = ["*.bak"]\nfuse_options = ["max_read=65536"]\n'
        'storage_urls = { Digi = "http://localhost:1", Goodrive = "http://localhost:2" }\n',
    )
    settings = load(
        {**FLAGS, "fuse_options": ("noatime",), "storage_urls": {"Digi": "http://localhost:9"}},
        OAIOFS_LOCAL_ONLY="*.tmp, *.log",
        OAIOFS_STORAGE_URLS="Other=http://localhost:3",
    )
    assert settings.local_only == (*LOCAL_ONLY, "*.bak", "*.tmp", "*.log")
    assert settings.fuse_options == ("max_read=65536", "noatime")
    assert settings.storage_urls == {
        "Digi": "http://localhost:9",
        "Goodrive": "http://localhost:2",
        "Other": "http://localhost:3",
    }


def test_every_option_can_come_from_the_environment() -> None:
    texts = {
        "server": "localhost:1",
        "user": "u",
        "acting_for": "o",
        "client_root": "/r",
        "device_id": "d",
        "app_id": "a",
        "csh_id": "c",
        "storage_urls": "Digi=http://localhost",
        "poll_interval": "1.5",
        "poll_less": "false",
        "quiet_time": "2.5",
        "longest_quiet": "3.5",
        "shutdown_timeout": "4.5",
        "cache_size": "1K",
        "limit_up": "500K",
        "limit_down": "8192",
        "cache_free": "2K",
        "read_only": "true",
        "allow_other": "1",
        "fuse_options": "x",
        "insecure": "false",
        "local_only": "*.x",
        "trash_days": "0",
    }
    settings = load({}, **{f"OAIOFS_{name.upper()}": text for name, text in texts.items()})
    assert (settings.server, settings.login, settings.client_root) == ("http://localhost:1", "u", Path("/r"))
    assert settings.user == "o"
    assert (settings.device_id, settings.app_id, settings.csh_id) == ("d", "a", "c")
    assert settings.storage_urls == {"Digi": "http://localhost"}
    assert (settings.poll_interval, settings.quiet_time, settings.longest_quiet) == (1.5, 2.5, 3.5)
    assert (settings.shutdown_timeout, settings.trash_days) == (4.5, 0)
    assert (settings.cache_size, settings.cache_free) == (1024, 2048)
    assert (settings.limit_up, settings.limit_down) == (512_000, 8192)
    assert (settings.read_only, settings.allow_other, settings.insecure) == (True, True, False)
    assert not settings.poll_less
    assert (settings.fuse_options, settings.local_only[-1]) == (("x",), "*.x")
    left = set(config.Options.__struct_fields__) - set(texts) - {"password_file", "password_command"}
    assert not left, "an option without a way in from the environment"


def test_paths_are_made_absolute_from_where_they_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert load({**FLAGS, "client_root": "here"}).client_root == home / "here"
    assert load({**FLAGS, "client_root": "~/there"}).client_root == home / "there"
    write(home, 'client_root = "beside"')
    assert load().client_root == home / "config" / "oaiofs" / "beside"
    write(home, 'client_root = "~/there"')
    assert load().client_root == home / "there"


def test_the_longest_quiet_is_never_shorter_than_the_quiet_time() -> None:
    assert load({**FLAGS, "quiet_time": 60.0}).longest_quiet == 60
    assert load({**FLAGS, "quiet_time": 3.0, "longest_quiet": 2.0}).longest_quiet == 3
    assert load({**FLAGS, "quiet_time": 3.0, "longest_quiet": 4.0}).longest_quiet == 4


def test_another_file_can_be_named(home: Path) -> None:
    other = home / "other.toml"
    other.write_text("poll_interval = 77")
    assert load(OAIOFS_CONFIG=str(other)).poll_interval == 77
    with pytest.raises(errors.ConfigError, match=r"nowhere\.toml"):
        load(OAIOFS_CONFIG=str(home / "nowhere.toml"))


def test_the_password_comes_by_file_or_command_of_the_configuration(home: Path) -> None:
    path = write(home, 'password_command = "echo spoken"\n')
    assert config.load(MOUNTPOINT, FLAGS, environ={}).password == Secret("spoken")
    (path.parent / "pw").write_text("filed\n")
    (path.parent / "pw").chmod(0o600)
    write(home, 'password_command = ["echo", "spoken"]\npassword_file = "pw"\n')
    assert config.load(MOUNTPOINT, FLAGS, environ={}).password == Secret("filed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        (0, 0),
        ("123", 123),
        (123, 123),
        ("1K", 1024),
        ("1k", 1024),
        ("20G", 20 * 1024**3),
        ("20 GiB", 20 * 1024**3),
        ("20GB", 20 * 1000**3),
        ("1.5M", 1_572_864),
        ("2T", 2 * 1024**4),
        ("512B", 512),
    ],
)
def test_sizes(text: str | int, expected: int) -> None:
    assert config.size(text) == expected
    assert load({**FLAGS, "cache_size": text}).cache_size == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), (0, 0), ("0", 0), ("0K", 0), (4096, 4096), ("4K", 4096), ("500K/s", 512_000), ("1MB", 10**6)],
)
def test_limits(text: str | int, expected: int) -> None:
    settings = load({**FLAGS, "limit_up": text})
    assert (settings.limit_up, settings.limit_down) == (expected, 0)
    assert load({**FLAGS, "limit_down": text}).limit_down == expected


def test_a_limit_of_the_command_line_takes_one_of_the_file_away(home: Path) -> None:
    write(home, "limit_up = '1M'\nlimit_down = 5000")
    settings = load({**FLAGS, "limit_up": ""})
    assert (settings.limit_up, settings.limit_down) == (0, 5000)


@pytest.mark.parametrize("text", ["", "G", "-1", "1e3", "20X", "20GG", "１", "1,5G", "20G 3"])
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(errors.ConfigError, match="like 20G"):
        config.size(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("poll_interval = 0", "poll_interval is 0; allowed is seconds, more than 0"),
        ("poll_interval = -1.5", "more than 0"),
        ("poll_interval = nan", "more than 0"),
        ("poll_interval = inf", "more than 0"),
        ("poll_interval = '5'", "poll_interval is '5'"),
        ("poll_interval = true", "poll_interval is True"),
        ("read_only = 1", "true or false"),
        ("cache_size = -5", "number of bytes"),
        ("cache_size = 1.5", "number of bytes"),
        ("cache_size = 'lots'", "cache_size is 'lots'; allowed is a number of bytes"),
        ("limit_up = 4095", "limit_up is 4095; allowed is bytes a second like 500K or 2M, at least 4096"),
        ("limit_down = '1K'", "limit_down is '1K'; allowed is bytes a second"),
        ("limit_down = 'fast'", "limit_down is 'fast'; allowed is bytes a second"),
        ("limit_down = -1", "bytes a second"),
        ("cache_free = 'lots'", "cache_free is 'lots'; allowed is a number of bytes"),
        ("local_only = '*.x'", "a list of texts"),
        ("local_only = ['']", "a list of texts"),
        ("storage_urls = ['x']", "a table of CSH_ID = URL"),
        ("storage_urls = { Digi = 3 }", "a table of CSH_ID = URL"),
        ("user = ''", "user is ''"),
        ("pol_interval = 5", "no setting 'pol_interval'; there are server, user"),
        ("accounts = 3", "[[accounts]]"),
        ("accounts = [3]", "[[accounts]]"),
        ("[[accounts]]\nserver = 'x'", "account 1 needs both server and user"),
        ("[[accounts]]\nserver = 'x'\nuser = 'u'\nquiet_time = 0", "account 1: quiet_time is 0"),
        ("poll_interval = ", "not valid TOML"),
    ],
)
def test_a_bad_file_is_told_with_place_key_and_what_is_allowed(home: Path, line: str, words: str) -> None:
    path = write(home, line + "\n")
    with pytest.raises(errors.ConfigError) as caught:
        load()
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_bytes_that_are_no_text_in_the_file(home: Path) -> None:
    write(home, "").write_bytes(b'user = "\xff"')
    with pytest.raises(errors.ConfigError, match="not valid TOML"):
        load()


def test_a_password_in_the_file_is_refused_and_not_shown(home: Path) -> None:
    write(home, 'password = "s3cret"')
    with pytest.raises(errors.ConfigError, match="password_command") as caught:
        load()
    assert "s3cret" not in str(caught.value)


def test_a_bad_environment_and_a_bad_flag_are_told_as_such() -> None:
    with pytest.raises(errors.ConfigError, match=r"environment.*quiet_time is 'soon'; allowed is seconds"):
        load(OAIOFS_QUIET_TIME="soon")
    with pytest.raises(errors.ConfigError, match=r"environment.*storage_urls"):
        load(OAIOFS_STORAGE_URLS="Digi")
    with pytest.raises(errors.ConfigError, match="command line: quiet_time is -1"):
        load({**FLAGS, "quiet_time": -1.0})


def test_an_account_is_needed_and_a_login_is_enough() -> None:
    with pytest.raises(errors.ConfigError, match="oaiofs login"):
        load({})
    with pytest.raises(errors.ConfigError, match="oaiofs login"):
        load({"user": "alice"})
    credentials.remember(Account("https://oaio.example.org", "alice"), Secret("kept"))
    settings = config.load(MOUNTPOINT, {}, environ={})
    assert (settings.server, settings.user, settings.password) == ("https://oaio.example.org", "alice", Secret("kept"))


def test_of_several_accounts_the_words_given_must_pick_one(home: Path) -> None:
    for server, user in (("one", "alice"), ("one", "bob"), ("two", "al")):
        credentials.remember(Account(f"https://{server}.example", user), Secret("x"))
    with pytest.raises(errors.UsageError, match=r"alice at https://one\.example"):
        load({})
    with pytest.raises(errors.UsageError, match=r"bob at https://one\.example"):
        load({"server": "one.example"})
    assert load({"server": "two.example"}).user == "al"
    assert load({"user": "bob"}).server == "https://one.example"
    write(home, 'server = "two.example"\nuser = "al"\n')
    assert load({}).user == "al", "the general account of the file is the one that is meant"
    assert load({"user": "bob"}).server == "https://one.example"
    assert load({"user": "carol"}).server == "https://two.example"
    assert load({"server": "three.example"}).user == "al"


def test_plain_http_to_another_machine_needs_a_word(home: Path) -> None:
    flags = {"server": "http://oaio.example.org", "user": "alice"}
    with pytest.raises(errors.ConfigError, match="--insecure"):
        load(flags)
    assert load({**flags, "insecure": True}).server == "http://oaio.example.org"
    write(home, '[[accounts]]\nserver = "http://oaio.example.org"\nuser = "alice"\ninsecure = true\n')
    assert load(flags).insecure


def test_client_roots_of_different_accounts_differ_whatever_they_are_called() -> None:
    whos = [
        {"server": "https://x.example:8443", "user": "a"},
        {"server": "https://x.example_8443", "user": "a"},
        {"server": "https://x.example", "user": "a/../../b"},
        {"server": "https://x.example", "user": "a_.._.._b"},
        {"server": "https://x.example", "user": "ä"},
        {"server": "https://x.example", "user": "ö"},
        {"server": "https://x.example", "user": ".."},
        {"server": "https://x.example/one", "user": "a"},
        {"server": "https://x.example/two", "user": "a"},
        {"server": "https://x.example", "user": "a" * 300},
    ]
    roots = [load(who).client_root for who in whos]
    assert len(set(roots)) == len(whos)
    assert {root.parent for root in roots} == {roots[0].parent}
    assert all(len(root.name) < 200 and not root.name.startswith(".") for root in roots)


@pytest.mark.parametrize("root", ["/mnt/oaio", "/mnt/oaio/root", "/mnt"])
def test_a_client_root_in_the_mount_or_around_it_is_refused(root: str) -> None:
    with pytest.raises(errors.ConfigError, match="must not be one in the other"):
        load({**FLAGS, "client_root": root})


def test_a_client_root_is_in_no_folder_that_cleaners_empty(home: Path) -> None:
    """What is not on the servers yet lives there."""
    for place in (home / "cache", home / "cache" / "oaiofs" / "root"):
        with pytest.raises(errors.ConfigError, match=r"cache folder.*not on the servers yet: choose another"):
            load({**FLAGS, "client_root": str(place)})
    (home / "link").symlink_to(home / "cache")
    with pytest.raises(errors.ConfigError, match="cache folder"):
        load({**FLAGS, "client_root": str(home / "link" / "root")})
    assert load({**FLAGS, "client_root": str(home / "cached")}).client_root == home / "cached"


def test_a_client_root_is_in_no_folder_that_is_marked_as_a_cache(home: Path) -> None:
    (home / "big").mkdir()
    tag = home / "big" / "CACHEDIR.TAG"
    tag.write_text("Signature: 8a477f597d28d172789f06886806bc55\n# made by a backup program")
    with pytest.raises(errors.ConfigError, match=r"big.*cache folder"):
        load({**FLAGS, "client_root": str(home / "big" / "deep" / "root")})
    tag.write_text("anything else of that name")
    assert load({**FLAGS, "client_root": str(home / "big" / "root")}).client_root == home / "big" / "root"
