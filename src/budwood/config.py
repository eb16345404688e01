"""TOML text and ``a.b=value`` overrides -> frozen pydantic models, with errors in the user's words."""

from __future__ import annotations

import contextlib
import difflib
import json
import tomllib
import types
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from budwood.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)
# Settings that take the name of a kind alone, or a table with the kind and its parameters.
_KIND_ALONE = ("schedule",)


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML; ``source`` names the file in the error.

    Raises:
        SettingsError: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is not valid TOML: {error}") from error


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``values`` with each ``dotted.key=value`` set.

    The value is read as TOML (``3e-4``, ``true``, ``[0.8, 1.2]``, ``"text"``); what is no TOML is taken as plain text.
    A number in the key is a position in a list (``train.stages.1.epochs=12``).

    Raises:
        SettingsError: an override has no ``=``, or its key leads through a value that is no table.
    """
    result: dict[str, Any] = _deep_copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f'--set takes key=value, found "{override}"; for example --set train.lr=3e-4')
        _assign(result, key.strip(), _read_value(text.strip()))
    return result


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _deep_copy(v) for k, v in value.items()}
    return [_deep_copy(v) for v in value] if isinstance(value, list | tuple) else value


def _read_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(table: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    place: Any = table
    for part in path:
        place = _step_into(place, part, key, value)
    if isinstance(place, list):
        place[_position(place, last, key)] = value
    else:
        place[last] = value


def _step_into(place: Any, part: str, key: str, value: Any) -> Any:
    inner = place[_position(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(inner, dict | list):
        advice = _whole_table(key, inner, value) if part in _KIND_ALONE else ""
        raise SettingsError(f'--set {key}: "{part}" is a single value, not a table; it has no keys below it{advice}')
    return inner


def _whole_table(key: str, kind: Any, value: Any) -> str:
    """How to give kind and parameter together."""
    place, _, parameter = key.rpartition(".")
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)  # ".3" is a number to everyone but TOML
    table = f"{{kind={json.dumps(kind)}, {parameter}={json.dumps(value)}}}"
    return f". Kind and parameters go into one table: --set '{place}={table}'"


def _position(place: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise SettingsError(f'--set {key}: "{part}" must be a position from 0 to {len(place) - 1}')
    return int(part)


def validate(model: type[Model], values: dict[str, Any], *, source: str) -> Model:
    """Build ``model`` from ``values``.

    Raises:
        SettingsError: all wrong keys, types and contradictions, one a line, with the nearest right key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        known = sorted(known_keys(model))
        lines = list(dict.fromkeys(_line(item, known) for item in error.errors(include_url=False)))
        shown = lines[0] if len(lines) == 1 else "".join(f"\n  - {line}" for line in lines)
        raise SettingsError(f"{source}: {shown}") from error


def _line(item: Any, known: list[str]) -> str:
    parts = [str(part) for part in item["loc"]]
    # A union adds the name of the tried type to the place; keys of the user's have no such names.
    key = ".".join(
        part for part in parts if not (part in ("float", "int") or part.startswith(("literal[", "function-")))
    )
    if item["type"] == "extra_forbidden":
        pattern = ".".join("*" if part.isdigit() else part for part in key.split("."))
        near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.0)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'unknown key "{key}"{hint}'
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    found = item.get("input")
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return f"{key or 'recipe'}: {message}{shown}"


def known_keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """All dotted keys below ``model``; ``*`` stands for a position in a list."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        keys.add(dotted)
        for inner, repeated in _models_in(field.annotation):
            keys |= known_keys(inner, f"{dotted}.*." if repeated else f"{dotted}.")
    return keys


def _models_in(annotation: Any, repeated: bool = False) -> list[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, repeated)]
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models_in(get_args(annotation)[0], repeated)
    if origin in (tuple, list, Union, types.UnionType):
        inside = repeated or origin in (tuple, list)
        return [found for part in get_args(annotation) for found in _models_in(part, inside)]
    return []
