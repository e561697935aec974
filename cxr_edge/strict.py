"""Parsed JSON or TOML becomes a dataclass, or an error that names the key: nothing is guessed."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def from_data(kind: type[_T], data: Any, where: str = "") -> _T:
    """Build a dataclass from parsed JSON or TOML, its types checked and no key unknown.

    A key may be missing where the dataclass has a default. Raises TypeError that names the key, and
    what the dataclass itself raises.
    """
    if not isinstance(data, dict):
        raise TypeError(f"{where} must be an object")
    prefix = f"{where}." if where else ""
    hints = _hints(kind)
    if unknown := sorted(data.keys() - hints.keys()):
        raise TypeError(f"{where or 'it'} has unknown {', '.join(unknown)}")
    needed = {
        field.name
        for field in fields(kind)  # type: ignore[arg-type]
        if field.default is MISSING and field.default_factory is MISSING
    }
    if missing := sorted(needed - data.keys()):
        raise TypeError(f"{where or 'it'} lacks {', '.join(missing)}")
    given = {name: _typed(hints[name], value, prefix + name) for name, value in data.items()}
    return kind(**given)


# What is written as text would be compiled each time.
_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _typed(hint: Any, value: Any, name: str) -> Any:
    """`value` as a dataclass, tuple, Mapping, finite float (an int will do), or exactly int, str or
    bool; as a Path, which an empty text leaves out where it may be None.

    Raises TypeError that names the key.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is UnionType and args[1:] == (NoneType,) and args[0] is not Path:
        return None if value is None else _typed(args[0], value, name)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_data(hint, value, name)
    if origin is tuple and isinstance(value, list):
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) == len(value):
            return tuple(
                _typed(kind, item, f"{name}[{index}]")
                for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
            )
    elif origin is Mapping and isinstance(value, dict):
        return {key: _typed(args[1], item, f"{name}.{key}") for key, item in value.items()}
    elif hint in (Path, Path | None) and isinstance(value, str):
        return Path(value) if value or hint is Path else None
    # By exact type: a bool is an int too.
    elif hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif hint in (int, str, bool) and type(value) is hint:
        return value
    wanted = hint.__name__ if isinstance(hint, type) else str(hint)
    raise TypeError(f"{name} should be {wanted}, not {value!r:.80}")
