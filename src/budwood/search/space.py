"""What a sweep goes over: settings and the values that each may take, read from ``key=v1,v2,...``.

It is generic: a key is text with dots, a value whatever TOML can hold. Which keys a recipe has, and whether a value
fits, is not known here; nor is anything trained.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from budwood.config import apply_overrides
from budwood.errors import SettingsError

_RANGE = re.compile(r"^(?P<scale>log:)?(?P<low>[-+]?\d[^,]*?)\.\.(?P<high>[^,]+)$")
_EXAMPLE = "--over train.lr=1e-5,1e-4,1e-3"
_MOST_ARMS = 1000


class SweepSpec(BaseModel):
    """What a recipe says of its sweep; ``budwood sweep`` may say otherwise.

    over: settings with their values, as on the command line: ``"train.batch_size=8,64,256"``.
    trials: so many trials chosen by Optuna; None tries every combination.
    folds: cross-validate each arm on so many folds of the training and validation part; None: one validation part.
    seeds: train each arm once with each of these; empty: the recipe's own.
    prune: end a trial after an epoch when it is worse than half of the trials were then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    over: tuple[str, ...] = ()
    trials: int | None = Field(default=None, ge=1)
    folds: int | None = Field(default=None, ge=2)
    seeds: tuple[int, ...] = ()
    prune: bool = True

    @model_validator(mode="after")
    def _readable(self) -> SweepSpec:
        try:
            Space.parse(over for over in self.over if over.partition("=")[0].strip() != "freeze")
        except SettingsError as error:
            raise ValueError(str(error)) from error
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is named twice; each seed once")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """A setting with the values that it takes, in the order given."""

    key: str
    values: tuple[Any, ...]

    def to_text(self) -> str:
        """As on the command line."""
        return f"{self.key}={','.join(map(toml_text, self.values))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A setting with all numbers from ``low`` to ``high``, both included; ``whole`` numbers only; even in ``log``."""

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def to_text(self) -> str:
        """As on the command line."""
        low, high = (str(int(end)) if self.whole else f"{end:g}" for end in (self.low, self.high))
        return f"{self.key}={'log:' if self.log else ''}{low}..{high}"


Axis = Choices | Range


@dataclass(frozen=True, slots=True)
class Space:
    """The settings of a sweep; an arm is one value for each of them."""

    axes: tuple[Axis, ...]

    @classmethod
    def parse(cls, overs: Iterable[str]) -> Space:
        """Read ``key=v1,v2,...`` and ``key=low..high``, one axis each.

        Raises:
            SettingsError: an axis cannot be read, or a key comes twice.
        """
        axes = tuple(parse_over(text) for text in overs)
        keys = [axis.key for axis in axes]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice:
            raise SettingsError(f"--over names {twice} twice; give all its values at once: {_EXAMPLE}")
        return cls(axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, in the order given."""
        return tuple(axis.key for axis in self.axes)

    def arms(self) -> tuple[dict[str, Any], ...]:
        """Every combination of the values; the last axis changes fastest.

        Raises:
            SettingsError: an axis is a range, or there are more combinations than anyone waits for.
        """
        for axis in self.axes:
            if isinstance(axis, Range):
                raise SettingsError(
                    f"--over {axis.to_text()} is a range, from which Optuna draws: add --trials 20, or list the values"
                    f" ({_EXAMPLE})"
                )
        choices = [axis.values for axis in self.axes if isinstance(axis, Choices)]
        number = math.prod(map(len, choices))
        if number > _MOST_ARMS:
            raise SettingsError(f"these values make {number:,} combinations: list fewer, or draw some with --trials 50")
        return tuple(dict(zip(self.keys, values, strict=True)) for values in itertools.product(*choices))

    def to_json(self) -> list[str]:
        """One text for each axis, which `parse` reads back."""
        return [axis.to_text() for axis in self.axes]


def parse_over(text: str) -> Axis:
    """Read one ``--over``.

    Values stand between commas and are read as TOML, what is no TOML as plain text; one list in brackets that holds
    several values is taken apart. ``low..high`` is a range, of whole numbers where both ends are; ``log:low..high`` is
    even in the logarithm.

    Raises:
        SettingsError: says what was found and what to write.
    """
    key, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not key or not rest:
        raise SettingsError(f'--over takes key=value,value,..., found "{text}"; for example {_EXAMPLE}')
    found = _RANGE.match(rest)
    if found or rest.startswith("log:"):
        return _range(key, rest, found)
    items = _split(rest, text)
    values = [_read(item) for item in items]
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if len(values) < 2:
        raise SettingsError(f"--over {key} has one value, {rest}: give two or more, or fix it with --set {key}={rest}")
    seen: set[str] = set()
    for value in values:
        shown = toml_text(value)
        if shown in seen:
            raise SettingsError(f"--over {key} names {shown} twice; each value once")
        seen.add(shown)
    return Choices(key=key, values=tuple(values))


def _range(key: str, rest: str, found: re.Match[str] | None) -> Range:
    ends = [_read(found[name].strip()) for name in ("low", "high")] if found else []
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if not found or len(numbers) < 2 or not all(math.isfinite(end) for end in numbers):
        raise SettingsError(f'--over {key}: a range is two numbers, such as log:1e-5..1e-2 or 1..8; found "{rest}"')
    low, high = numbers
    if not low < high:
        raise SettingsError(f"--over {key}: the range goes from {low:g} to {high:g}; the smaller number comes first")
    log = bool(found["scale"])
    if log and low <= 0:
        raise SettingsError(f"--over {key}: a logarithmic range begins above 0, found {low:g}")
    whole = all(isinstance(end, int) for end in numbers)
    return Range(key=key, low=float(low), high=float(high), log=log, whole=whole)


def _split(text: str, over: str) -> list[str]:
    """The values between commas that are in no bracket and no quotes."""
    items, depth, quote, escaped = [""], 0, "", False
    for char in text:
        if escaped:
            escaped = False
        elif quote:
            escaped = quote == '"' and char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        if char == "," and not depth and not quote:
            items.append("")
        else:
            items[-1] += char
    if depth or quote:
        raise SettingsError(f"--over {over}: a {'quote' if quote else 'bracket'} is opened and not closed")
    if any(not item.strip() for item in items):
        raise SettingsError(f'--over {over}: there is nothing between two commas; write "" for an empty text')
    return [item.strip() for item in items]


def _read(text: str) -> Any:
    return apply_overrides({}, [f"value={text}"])["value"]


def toml_text(value: Any) -> str:
    """A value as TOML on one line, as ``--set`` and ``--over`` read it.

    Raises:
        TypeError: TOML has no such value.
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    if isinstance(value, str):  # JSON leaves DEL as it is, which TOML does not allow
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value!r}"
    raise TypeError(f"{value!r} is no value that TOML has")


def shown(value: Any) -> str:
    """A value for a table: text without quotes, numbers as short as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " · ".join(map(shown, value)) or "none"
    return toml_text(value)


def label(settings: Mapping[str, Any]) -> str:
    """An arm in few words: ``lr 0.001, batch_size 64``; keys without what stands before their last dot."""
    return ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in settings.items())
