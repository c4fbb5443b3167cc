"""Settings: nested frozen dataclasses, read from TOML files and from the command line.

A leaf is a str, int, float, bool, Path, Literal, `X | None` or `tuple[X, ...]`; a class of settings
has a default for each. TOML has no word for None, so there, as on the command line, it is "None".
"""

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

LEAVES: dict[type, tuple[str, Callable[[Any], bool]]] = {  # its name, which values of TOML it takes
    str: ("a text", lambda value: type(value) is str),
    int: ("a whole number", lambda value: type(value) is int),
    float: (
        "a number",
        # beyond 2**53 a float would not hold the same number
        lambda value: type(value) is float or (type(value) is int and abs(value) <= 2**53),
    ),
    bool: ("true or false", lambda value: type(value) is bool),
    Path: ("a path", lambda value: isinstance(value, str | Path)),
}


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError if it is missing or is no TOML, with the line."""
    try:
        return tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; check its name") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no TOML: {error}; correct it there") from None


def merge(base: T, values: Mapping[str, Any], source: Path | str = "settings") -> T:
    """Replace those settings of `base` that `values`, tables as read from TOML, names.

    An int stands for a float, a text for a path, and "None" for None; nothing else is converted.
    `source` is the file to name in errors. Raises ConfigError if a key is unknown, a value has the
    wrong type, or the settings refuse it.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Model:
    ...     hidden: int = 128
    ...     dropout: float = 0.5
    >>> merge(Model(), {"dropout": 0})
    Model(hidden=128, dropout=0.0)
    >>> merge(Model(), {"hiden": 256}, source="my.toml")
    Traceback (most recent call last):
    unrolled.errors.ConfigError: my.toml: there is no setting hiden; the closest is hidden
    """
    return _merge(base, values, f"{source}: ", "", dict(_leaves(type(base))))


def to_toml(config: "DataclassInstance") -> str:
    """Write all settings as TOML: `merge(any, tomllib.loads(to_toml(c))) == c` but for one text.

    The text "None" in a `str | None` would read back as None. Raises ConfigError for a text that is
    no Unicode, such as a path whose name is in another encoding.
    """
    return "\n".join(_lines(config, "")) + "\n"


def from_command_line(
    cls: type[T], args: Sequence[str], default: T, prog: str | None = None, about: str | None = None
) -> T:
    """Read flags such as `--hidden 256`, one per leaf whatever table it is in, over `default`.

    `--help` prints all flags, with the docstring or comment of each field, and exits with status 0.
    `prog` is the command to show there and `about` the text above the flags, by default the
    docstring of `cls`. Raises ConfigError if a flag is unknown or its value cannot be used, and if
    two leaves of `cls` have the same name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Model:
    ...     hidden: int = 128
    >>> from_command_line(Model, ["--hidden", "256"], Model())
    Model(hidden=256)
    """
    kinds = _flags(cls)
    for flag in (_flag(token) for token in args if token.startswith("--")):
        if flag not in kinds:
            raise ConfigError(f"there is no flag {flag}; the closest is {_closest(flag, kinds)}")

    def parse(some: Sequence[str]) -> tuple[T, list[str]]:
        with contextlib.redirect_stderr(io.StringIO()):  # tyro's own words about an error
            return tyro.cli(
                cls,
                args=some,
                default=default,
                prog=prog,
                description=about,
                return_unknown_args=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )

    try:
        config, alone = parse(args)
    except SystemExit as stop:
        if not stop.code:  # the help was printed
            raise
        raise _refusal(stop) or _bad_value(parse, args, kinds) from None
    if alone:
        raise ConfigError(f"{alone[0]} on the command line belongs to no flag; see --help")
    return config


def resolve(
    cls: type[T],
    args: Sequence[str],
    presets: Mapping[str, Path],
    default: T | None = None,
    prog: str | None = None,
) -> T:
    """Settle all settings: `default`, under `--preset NAME`, under `--config FILE`s, under flags.

    `args` is the command line without the command; `presets` maps a name to its TOML file;
    `default` is `cls()` if not given. Raises ConfigError where any of them cannot be used.
    """
    names, args = _take(args, "--preset")
    files, args = _take(args, "--config")
    unknown = [name for name in names if name not in presets]
    if unknown:
        raise ConfigError(f"there is no preset {unknown[0]}; known are {', '.join(presets)}")
    config = cls() if default is None else default
    for path in [*(presets[name] for name in names), *map(Path, files)]:
        config = merge(config, read_toml(path), path)
    about = (
        f"{inspect.getdoc(cls)}\n\nUnder the flags lie the settings of --preset NAME"
        f" ({', '.join(presets)}), then those of --config FILE (TOML, as in a run's config.toml)."
    )
    return from_command_line(cls, args, config, prog, about)


def _leaves(cls: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of every leaf."""
    kinds = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield from _leaves(kinds[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, kinds[field.name]


def _merge(base: T, values: Mapping[str, Any], where: str, prefix: str, known: dict[str, Any]) -> T:
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + key
        old = getattr(base, key, None)
        if dataclasses.is_dataclass(old) and not isinstance(old, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}{name} is {short(value)}; make it a table, [{name}]")
            changes[key] = _merge(old, value, where, f"{name}.", known)
        elif name not in known:
            raise ConfigError(
                f"{where}there is no setting {name}; the closest is {_closest(name, known)}"
            )
        else:
            try:
                changes[key] = _read(known[name], value)
            except ValueError:
                raise ConfigError(
                    f"{where}{name} is {short(value)}; expected {_expected(known[name])}"
                ) from None
    try:
        return dataclasses.replace(base, **changes)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None


def _read(kind: Any, value: Any) -> Any:
    """Turn a value of TOML into one of type `kind`, or raise ValueError."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal and any(value == a and type(value) is type(a) for a in args):
        return value
    if origin in (Union, UnionType):
        if value in (None, "None") and NoneType in args:
            return None
        for option in (a for a in args if a is not NoneType):
            with contextlib.suppress(ValueError):
                return _read(option, value)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_read(args[0], item) for item in value)
    if kind in LEAVES and LEAVES[kind][1](value):
        return kind(value)
    raise ValueError


def _expected(kind: Any) -> str:
    """Say in words what type `kind` takes."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (Union, UnionType):
        return " or ".join("None" if a is NoneType else _expected(a) for a in args)
    if origin is tuple:
        return f"a list, each {_expected(args[0])}"
    return LEAVES[kind][0]


def _closest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _lines(config: "DataclassInstance", table: str) -> Iterator[str]:
    """Write the leaves of one table, then the tables in it."""
    inner: dict[str, DataclassInstance] = {}
    for field in dataclasses.fields(config):
        name, value = f"{table}{field.name}", getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner[name] = value
        else:
            yield f"{field.name} = {_literal(name, value)}"
    for name, value in inner.items():
        yield f"\n[{name}]"
        yield from _lines(value, f"{name}.")


def _literal(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(name, item) for item in value)}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()  # nan, inf and exponents are spelt alike in both languages
    text = str(value)
    if text != text.encode(errors="replace").decode():
        raise ConfigError(f"{name} is {text!r}, which is no Unicode text; choose another name")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _flags(cls: type) -> dict[str, str]:
    """Every flag, and in words what follows it."""
    flags = {"--help": "nothing", "--preset": "a name", "--config": "a file"}
    for name, kind in _leaves(cls):
        flag = _flag(f"--{name.split('.')[-1]}")
        both = {flag: "nothing", f"--no-{flag[2:]}": "nothing"}
        words = both if kind is bool else {flag: _expected(kind)}
        if words.keys() & flags.keys():
            raise ConfigError(f"{name} in {cls.__name__} needs a name of its own: {flag} is taken")
        flags |= words
    return flags


def _flag(token: str) -> str:
    return token.partition("=")[0].replace("_", "-")


def _refusal(stop: SystemExit) -> ConfigError | None:
    """Find the error of the settings themselves that made tyro stop, if it was that."""
    cause: BaseException | None = stop
    while cause and not isinstance(cause, ConfigError):
        cause = cause.__context__
    return cause


def _bad_value(
    parse: Callable[[Sequence[str]], object], args: Sequence[str], kinds: Mapping[str, str]
) -> ConfigError:
    """Find the flag that made tyro stop, which it has no call to tell, by parsing each alone."""
    starts = [place for place, token in enumerate(args) if token.startswith("--")]
    for group in (args[a:b] for a, b in itertools.pairwise([*starts, len(args)])):
        try:
            parse(group)
        except SystemExit as stop:
            if not _refusal(stop):
                flag = _flag(group[0])
                return ConfigError(f"{' '.join(group)}: {flag} takes {kinds[flag]}")
    return ConfigError(f"{' '.join(args)} cannot be read; see --help")


def _take(args: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Take every `name VALUE` and `name=VALUE` out of a command line: the values, and the rest."""
    values, rest = [], []
    tokens = iter(args)
    for token in tokens:
        flag, equals, value = token.partition("=")
        if flag != name:
            rest.append(token)
        elif value := value if equals else next(tokens, ""):
            values.append(value)
        else:
            raise ConfigError(f"{name} on the command line has no value; give one after it")
    return values, rest
