"""What a mount is told: one frozen ``Settings``, resolved from layers, each above the one before.

    defaults < config.toml < its [[accounts]] entry < OAIOFS_* of the environment < the command's flags

``$XDG_CONFIG_HOME/oaiofs/config.toml`` (``OAIOFS_CONFIG`` names another) is the user's own: oaiofs never writes it.
A key has the same name and meaning in every layer; ``Options`` lists them all:

    server = "oaio.example.org"
    user = "alice"
    poll_interval = 30
    cache_size = "20G"
    cache_free = "5G"
    password_command = ["pass", "show", "oaio"]

    [[accounts]]                          # above the general keys, for one server and user only
    server = "localhost:8080"
    user = "alice"
    storage_urls = { Digi = "http://localhost:8080/storage" }

Must not know what is done with any of it.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta

from . import clientroots, credentials, errors
from .clientroots import default_device_id
from .core.bucket import SLOWEST
from .core.names import LOCAL_ONLY
from .core.trash import DAYS
from .credentials import Account, Secret
from .remote.address import server_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Options", "Secret", "Settings", "account", "client_root", "default_device_id", "load", "password", "size"]

_ENVIRONMENT_PREFIX = "OAIOFS_"
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<step>iB|B)?", re.IGNORECASE | re.ASCII)

Text: TypeAlias = Annotated[str, Meta(min_length=1, description="text")]
Switch: TypeAlias = Annotated[bool, Meta(description="true or false")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, lt=1e9, description="seconds, more than 0, fractions allowed")]
Days: TypeAlias = Annotated[float, Meta(ge=0, lt=1e6, description="days, fractions allowed; 0 for ever")]
Size: TypeAlias = Annotated[
    str | Annotated[int, Meta(ge=0)],
    Meta(description="a number of bytes, or one with K, M, G or T like 20G; 0 for no limit"),
]
Speed: TypeAlias = Annotated[
    str | Annotated[int, Meta(ge=0)],
    Meta(description=f"bytes a second like 500K or 2M, at least {SLOWEST}; 0 or nothing for no limit"),
]
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(description="a list of texts")]
Urls: TypeAlias = Annotated[dict[str, Text], Meta(description="a table of CSH_ID = URL")]
Command: TypeAlias = Annotated[str | tuple[Text, ...], Meta(description="a command, or a list of its words")]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of settings: None is what this layer leaves to those below. Times are seconds."""

    server: Text | None = None
    user: Text | None = None
    acting_for: Text | None = None
    password_file: Text | None = None
    password_command: Command | None = None
    client_root: Text | None = None
    device_id: Text | None = None
    app_id: Text | None = None
    csh_id: Text | None = None
    storage_urls: Urls | None = None
    poll_interval: Seconds | None = None
    poll_less: Switch | None = None
    quiet_time: Seconds | None = None
    longest_quiet: Seconds | None = None
    shutdown_timeout: Seconds | None = None
    cache_size: Size | None = None
    limit_up: Speed | None = None
    limit_down: Speed | None = None
    cache_free: Size | None = None
    read_only: Switch | None = None
    allow_other: Switch | None = None
    fuse_options: Texts | None = None
    insecure: Switch | None = None
    local_only: Texts | None = None
    trash_days: Days | None = None

    def over(self, below: Options) -> Options:
        """These options where they say something, those *below* where not. Lists and tables of both are joined."""
        joined = {}
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(below, name)
            if mine is not None and theirs is not None and name in _JOINED:
                mine = {**theirs, **mine} if isinstance(mine, dict) else (*theirs, *mine)
            joined[name] = theirs if mine is None else mine
        return Options(**joined)


_SIZES = frozenset({"cache_size", "cache_free"})
_JOINED = frozenset({"storage_urls", "fuse_options", "local_only"})
_TYPES = get_type_hints(Options, include_extras=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that one mount is told. Times are seconds, sizes bytes, paths absolute.

    *server* is the complete URL. The objects are those of *user*; *login* is who signs in: '' for the same, or a
    superuser who acts for them. Local copies may take *cache_size* of this machine's disk, *cache_free* of it stays
    free; 0 means no limit, and so it does for *limit_up* and *limit_down*, the bytes a second that all transfers share.
    *device_id* and *app_id* are what a new client root begins with. *poll_less*: *poll_interval* grows while nothing
    happens. *quiet_time* after the last change a push begins, *longest_quiet* after the first one at the latest.
    *local_only* are the name patterns of files that never leave this machine. An ordered end of the mount pushes for
    *shutdown_timeout* at most. What is in the trash goes for good after *trash_days*, 0: never by itself.
    """

    mountpoint: Path
    server: str
    user: str
    login: str = ""
    password: Secret
    client_root: Path
    device_id: str
    app_id: str = "oaiofs"
    csh_id: str = "Digi"
    storage_urls: Mapping[str, str]
    poll_interval: float = 15.0
    poll_less: bool = True
    quiet_time: float = 2.0
    longest_quiet: float = 30.0
    cache_size: int = 0
    limit_up: int = 0
    limit_down: int = 0
    cache_free: int = 0
    read_only: bool = False
    allow_other: bool = False
    fuse_options: tuple[str, ...] = ()
    insecure: bool = False
    local_only: tuple[str, ...] = LOCAL_ONLY
    shutdown_timeout: float = 10.0
    trash_days: float = DAYS
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
    secret = password(who, options, environ=environ, ask=ask)
    mountpoint = _path(mountpoint)
    root = _client_root(who, options)
    clientroots.check_apart(mountpoint, root)
    clientroots.check_no_cache(root)
    settings = Settings(
        mountpoint=mountpoint,
        server=who.server,
        user=options.acting_for or who.user,
        login=who.user,
        password=secret,
        client_root=root,
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


def password(
    who: Account, options: Options, *, environ: Mapping[str, str] = os.environ, ask: Callable[[str], str] | None = None
) -> Secret:
    """What *who* signs in with. Raises Unauthorized where no password is known, ConfigError."""
    return credentials.find(
        who,
        password_file=_path(options.password_file) if options.password_file else None,
        password_command=_words(options.password_command),
        environ=environ,
        ask=ask,
    )


def client_root(flags: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the account that is meant has its copies on this machine. Raises like ``account``."""
    return _client_root(*account(flags, environ=environ))


def _client_root(who: Account, options: Options) -> Path:
    if options.client_root:
        return _path(options.client_root)
    return clientroots.default(options.acting_for or who.user, who.server)


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
        "poll_less": options.poll_less,
        "quiet_time": options.quiet_time,
        "longest_quiet": options.longest_quiet,
        "shutdown_timeout": options.shutdown_timeout,
        "trash_days": options.trash_days,
        "cache_size": None if options.cache_size is None else size(options.cache_size),
        "limit_up": None if options.limit_up is None else speed(options.limit_up, "limit_up"),
        "limit_down": None if options.limit_down is None else speed(options.limit_down, "limit_down"),
        "cache_free": None if options.cache_free is None else size(options.cache_free, "cache_free"),
        "read_only": options.read_only,
        "allow_other": options.allow_other,
        "fuse_options": options.fuse_options,
        "insecure": options.insecure,
    }
    return {name: value for name, value in plain.items() if value is not None}


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


def speed(value: str | int, name: str) -> int:
    """Bytes a second of a ``size`` such as ``500K`` or ``500K/s``, 0 for no limit. Raises ConfigError like ``size``."""
    if value == "":
        return 0
    found = size(value.removesuffix("/s") if isinstance(value, str) else value, name)
    if 0 < found < SLOWEST:
        raise errors.ConfigError(f"{name} is {value!r}; allowed is {_allowed(name)}.")
    return found


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
            if name in _SIZES:
                size(checked[name])
            elif name in ("limit_up", "limit_down"):
                speed(checked[name], name)
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
