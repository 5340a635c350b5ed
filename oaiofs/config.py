"""What a mount is told: one frozen ``Settings``, resolved from layers, each above the one before.

    defaults < config.toml < its [[accounts]] entry < OAIOFS_* of the environment < the command's flags

``$XDG_CONFIG_HOME/oaiofs/config.toml`` (``OAIOFS_CONFIG`` names another) is the user's own: oaiofs never writes it.
A key has the same name and meaning in every layer; ``Options`` lists them all:

    server = "oaio.example.org"
    user = "alice"
    poll_interval = 30
    cache_size = "20G"
    password_command = ["pass", "show", "oaio"]

    [[accounts]]                          # above the general keys, for one server and user only
    server = "localhost:8080"
    user = "alice"
    storage_urls = { Digi = "http://localhost:8080/storage" }

Must not know what is done with any of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import socket
import tomllib
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta

from . import credentials, errors
from .core.names import LOCAL_ONLY
from .credentials import Account, Secret
from .remote.address import server_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Options", "Secret", "Settings", "account", "default_device_id", "load", "size"]

_ENVIRONMENT_PREFIX = "OAIOFS_"
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<step>iB|B)?", re.IGNORECASE | re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9.@_-]+")

Text: TypeAlias = Annotated[str, Meta(min_length=1, description="text")]
Switch: TypeAlias = Annotated[bool, Meta(description="true or false")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, lt=1e9, description="seconds, more than 0, fractions allowed")]
Size: TypeAlias = Annotated[
    str | Annotated[int, Meta(ge=0)],
    Meta(description="a number of bytes, or one with K, M, G or T like 20G; 0 for no limit"),
]
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(description="a list of texts")]
Urls: TypeAlias = Annotated[dict[str, Text], Meta(description="a table of CSH_ID = URL")]
Command: TypeAlias = Annotated[str | tuple[Text, ...], Meta(description="a command, or a list of its words")]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of settings: None is what this layer leaves to those below. Times are seconds."""

    server: Text | None = None
    user: Text | None = None
    password_file: Text | None = None
    password_command: Command | None = None
    client_root: Text | None = None
    device_id: Text | None = None
    app_id: Text | None = None
    csh_id: Text | None = None
    storage_urls: Urls | None = None
    poll_interval: Seconds | None = None
    quiet_time: Seconds | None = None
    longest_quiet: Seconds | None = None
    shutdown_timeout: Seconds | None = None
    cache_size: Size | None = None
    read_only: Switch | None = None
    allow_other: Switch | None = None
    fuse_options: Texts | None = None
    insecure: Switch | None = None
    local_only: Texts | None = None

    def over(self, below: Options) -> Options:
        """These options where they say something, those *below* where not. Lists and tables of both are joined."""
        joined = {}
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(below, name)
            if mine is not None and theirs is not None and name in _JOINED:
                mine = {**theirs, **mine} if isinstance(mine, dict) else (*theirs, *mine)
            joined[name] = theirs if mine is None else mine
        return Options(**joined)


_JOINED = frozenset({"storage_urls", "fuse_options", "local_only"})
_TYPES = get_type_hints(Options, include_extras=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that one mount is told. Times are seconds, sizes bytes, paths absolute.

    *server* is the complete URL. *cache_size* 0 means no limit. *device_id* and *app_id* are what a new client root
    begins with. *quiet_time* after the last change a push begins, *longest_quiet* after the first one at the latest.
    *local_only* are the name patterns of files that never leave this machine. An ordered end of the mount pushes for
    *shutdown_timeout* at most.
    """

    mountpoint: Path
    server: str
    user: str
    password: Secret
    client_root: Path
    device_id: str
    app_id: str = "oaiofs"
    csh_id: str = "Digi"
    storage_urls: Mapping[str, str]
    poll_interval: float = 15.0
    quiet_time: float = 2.0
    longest_quiet: float = 30.0
    cache_size: int = 0
    read_only: bool = False
    allow_other: bool = False
    fuse_options: tuple[str, ...] = ()
    insecure: bool = False
    local_only: tuple[str, ...] = LOCAL_ONLY
    shutdown_timeout: float = 10.0
    verbose: int = 0


def load(
    mountpoint: Path,
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] | None = None,
    verbose: int = 0,
) -> Settings:
    """The settings of a mount at *mountpoint*. *flags* are by the names of ``Options``; None means not given.

    Raises ConfigError for a bad value, with its place, name and what is allowed; UsageError where the account can't be
    told; Unauthorized where no password is known.
    """
    who, options = account(flags, environ=environ)
    password = credentials.find(
        who,
        password_file=_path(options.password_file) if options.password_file else None,
        password_command=_words(options.password_command),
        environ=environ,
        ask=ask,
    )
    mountpoint = _path(mountpoint)
    client_root = _path(options.client_root) if options.client_root else _default_client_root(who)
    _check_apart(mountpoint, client_root)
    settings = Settings(
        mountpoint=mountpoint,
        server=who.server,
        user=who.user,
        password=password,
        client_root=client_root,
        device_id=options.device_id or default_device_id(),
        storage_urls=types.MappingProxyType(options.storage_urls or {}),
        local_only=(*LOCAL_ONLY, *(options.local_only or ())),
        verbose=verbose,
        **_given(options),
    )
    return replace(settings, longest_quiet=max(settings.longest_quiet, settings.quiet_time))


def account(flags: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ) -> tuple[Account, Options]:
    """Whose mount it is to be, and every option for that account. Raises like ``load``."""
    general, accounts = _read_file(_config_file(environ))
    said = _layer("the command line", flags).over(_from_environment(environ))
    who = _choose(said, general, accounts)
    own = next((entry for entry in accounts if who in _complete((entry,))), Options())
    options = said.over(own.over(general))
    server_url(who.server, bool(options.insecure))
    return who, options


def _choose(said: Options, general: Options, accounts: Iterable[Options]) -> Account:
    """What was said picks among the accounts that are known: the file's general one, its others and past logins."""
    server = _normal(said.server) if said.server else None
    if server and said.user:
        return Account(server, said.user)
    others = dict.fromkeys((*_complete(accounts), *credentials.remembered()))
    for known in (_complete((general,)), others, _complete((said.over(general),))):
        fitting = [who for who in known if server in (None, who.server) and said.user in (None, who.user)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            listed = "; ".join(str(who) for who in fitting)
            raise errors.UsageError(f"Several accounts are known: say which one with --server and --user ({listed}).")
    raise errors.ConfigError(
        "No account is known for this: run `oaiofs login HOST --user NAME` once, or give both --server and --user."
    )


def _complete(layers: Iterable[Options]) -> Iterable[Account]:
    return [Account(_normal(layer.server), layer.user) for layer in layers if layer.server and layer.user]


def _normal(server: str) -> str:
    """The one spelling of *server*; whether it may be spoken to in the clear is for the account that is chosen."""
    return server_url(server, insecure=True)


def _given(options: Options) -> dict[str, Any]:
    """The options that are settings as they stand; those left out keep the defaults of ``Settings``."""
    plain = {
        "app_id": options.app_id,
        "csh_id": options.csh_id,
        "poll_interval": options.poll_interval,
        "quiet_time": options.quiet_time,
        "longest_quiet": options.longest_quiet,
        "shutdown_timeout": options.shutdown_timeout,
        "cache_size": None if options.cache_size is None else size(options.cache_size),
        "read_only": options.read_only,
        "allow_other": options.allow_other,
        "fuse_options": options.fuse_options,
        "insecure": options.insecure,
    }
    return {name: value for name, value in plain.items() if value is not None}


def _default_client_root(who: Account) -> Path:
    """One folder per account, named so that a person knows whose it is."""
    plain = f"{who.user}@{who.server.partition('://')[2]}"
    safe = _UNSAFE.sub("_", plain).lstrip(".")[:100]
    if safe != plain:
        safe += "-" + hashlib.sha256(f"{who.user}\0{who.server}".encode()).hexdigest()[:8]
    return platformdirs.user_data_path("oaiofs") / safe


def default_device_id() -> str:
    """This machine's name as the servers get it, where the user gives no other."""
    return _UNSAFE.sub("_", socket.gethostname().partition(".")[0]) or "device"


def _check_apart(mountpoint: Path, client_root: Path) -> None:
    real = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    root = Path(os.path.realpath(client_root.parent), client_root.name)
    if root.is_relative_to(real) or real.is_relative_to(root):
        raise errors.ConfigError(
            f"The client root {client_root} and the mountpoint {mountpoint} must not be one in the other: choose "
            "another --client-root."
        )


def size(value: str | int, name: str = "cache_size") -> int:
    """Bytes of ``20G``, ``1.5 GiB``, ``500MB`` (powers of 1024; of 1000 with a mere B), or a plain number.

    Raises ConfigError, which calls the setting *name*.
    """
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise errors.ConfigError(f"{name} is {value!r}; allowed is {_allowed('cache_size')}.")
    step = 1000 if (match["step"] or "").upper() == "B" else 1024
    return int(float(match["number"]) * step ** _UNITS[match["unit"].upper()])


def _path(text: str | Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))


def _words(command: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(shlex.split(command)) if isinstance(command, str) else command or ()


def _layer(source: str, values: Mapping[str, Any], *, strict: bool = True) -> Options:
    """*values* as one layer; where not *strict*, texts stand for numbers and switches. *source* is for the errors."""
    checked = {}
    for name, value in values.items():
        if value is None:
            continue
        if name not in _TYPES:
            raise errors.ConfigError(_unknown(source, name))
        try:
            checked[name] = msgspec.convert(value, _TYPES[name], strict=strict)
            if name == "cache_size":
                size(checked[name])
        except (msgspec.ValidationError, errors.ConfigError):
            raise errors.ConfigError(f"{source}: {name} is {value!r}; allowed is {_allowed(name)}.") from None
    return Options(**checked)


def _unknown(source: str, name: str) -> str:
    if name == "password":
        return f"{source}: a password does not belong here; use password_command, or run `oaiofs login`."
    return f"{source}: there is no setting {name!r}; there are {', '.join(_TYPES)}."


def _allowed(name: str) -> str:
    """What ``Options`` says about the values of *name*."""
    pending = [_TYPES[name]]
    while pending:
        kind = pending.pop(0)
        if get_origin(kind) is Annotated:
            described = [meta.description for meta in kind.__metadata__ if isinstance(meta, Meta) and meta.description]
            if described:
                return described[0]
        if get_origin(kind) in (Annotated, Union, types.UnionType):
            pending.extend(get_args(kind))
    raise AssertionError(f"the option {name} has no description")


def _from_environment(environ: Mapping[str, str]) -> Options:
    found: dict[str, Any] = {}
    for name in Options.__struct_fields__:
        text = environ.get(_ENVIRONMENT_PREFIX + name.upper())
        if text:
            found[name] = _parted(name, text)
    return _layer("the environment (OAIOFS_…)", found, strict=False)


def _parted(name: str, text: str) -> Any:
    """*text* of an environment variable, parted where the option is a list or a table: at commas."""
    if name in _JOINED:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return dict(part.partition("=")[::2] for part in parts) if name == "storage_urls" else parts
    return text


def _config_file(environ: Mapping[str, str]) -> Path:
    named = environ.get("OAIOFS_CONFIG")
    if not named:
        return platformdirs.user_config_path("oaiofs") / "config.toml"
    path = _path(named)
    if not path.exists():
        raise errors.ConfigError(f"OAIOFS_CONFIG names {path}, which does not exist.")
    return path


def _read_file(path: Path) -> tuple[Options, list[Options]]:
    """The general part of a configuration file and its accounts; nothing at all where there is no such file."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return Options(), []
    except OSError as error:
        raise errors.ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"{path} is not valid TOML: {error}.") from None
    entries = content.pop("accounts", [])
    if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        raise errors.ConfigError(f"{path}: accounts must be tables, each begun with [[accounts]].")
    general = _in_folder(_layer(str(path), content), path.parent)
    accounts = []
    for number, entry in enumerate(entries, 1):
        options = _in_folder(_layer(f"{path}: account {number}", entry), path.parent)
        if not (options.server and options.user):
            raise errors.ConfigError(f"{path}: account {number} needs both server and user.")
        accounts.append(options)
    return general, accounts


def _in_folder(options: Options, folder: Path) -> Options:
    """Relative paths of a file are meant from where the file is."""
    found = {name: getattr(options, name) for name in ("client_root", "password_file")}
    paths = {name: str(_path(folder / os.path.expanduser(text))) for name, text in found.items() if text}
    return msgspec.structs.replace(options, **paths)
