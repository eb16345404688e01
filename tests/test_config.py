"""TOML and overrides -> typed settings; every error names key, value and the nearest right key."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from budwood.config import apply_overrides, known_keys, parse_toml, validate
from budwood.errors import SettingsError


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rate: float = Field(default=0.1, gt=0)
    interval: int = 3
    kind: Literal["head", "all"] | int = "head"


class Outer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = ""
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    maybe: Inner | None = None

    @model_validator(mode="after")
    def _agree(self) -> Outer:
        if self.name == "clash":
            raise ValueError("name and inner contradict each other")
        return self


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param("inner.rate=3e-4", {"inner": {"rate": 3e-4}}, id="number"),
        pytest.param("flag=true", {"flag": True}, id="truth value"),
        pytest.param("list=[0.8, 1.2]", {"list": [0.8, 1.2]}, id="list"),
        pytest.param("name=plain text", {"name": "plain text"}, id="plain text"),
        pytest.param('name="3"', {"name": "3"}, id="quoted"),
        pytest.param("path=/a/b=c.pth", {"path": "/a/b=c.pth"}, id="equals sign in the value"),
        pytest.param(" a.b = 1 ", {"a": {"b": 1}}, id="spaces"),
        pytest.param("name=", {"name": ""}, id="empty"),
        pytest.param("a={ b = 1 }", {"a": {"b": 1}}, id="table"),
    ],
)
def test_an_override_is_read_as_toml_or_as_text(override: str, expected: dict[str, Any]) -> None:
    assert apply_overrides({}, [override]) == expected


def test_later_overrides_win_and_the_given_values_stay(tmp_path: object) -> None:
    values = {"many": [{"rate": 1.0}, {"rate": 2.0}], "inner": {"rate": 3.0}}
    result = apply_overrides(values, ["many.1.rate=5", "many.1.rate=6", "inner.rate=7"])
    assert result == {"many": [{"rate": 1.0}, {"rate": 6}], "inner": {"rate": 7}}
    assert values == {"many": [{"rate": 1.0}, {"rate": 2.0}], "inner": {"rate": 3.0}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("rate", 'takes key=value, found "rate"', id="no equals sign"),
        pytest.param("=3", "takes key=value", id="no key"),
        pytest.param("name.first=1", '"name" is a single value', id="below a value"),
        pytest.param("many.2.rate=1", "position from 0 to 0", id="beyond the list"),
        pytest.param("many.first.rate=1", "position from 0 to 0", id="a name for a position"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        apply_overrides({"name": "x", "many": [{"rate": 1.0}]}, [override])


def test_a_parameter_below_a_kind_alone_is_answered_by_the_table_that_works() -> None:
    with pytest.raises(SettingsError, match="go into one table") as caught:
        apply_overrides({}, ["train.schedule=triangular", "train.schedule.low=.3"])
    (advised,) = re.findall("--set '(.*)'$", str(caught.value))
    assert apply_overrides({}, [advised]) == {"train": {"schedule": {"kind": "triangular", "low": 0.3}}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"inner": {"rat": 1}}, 'unknown key "inner.rat"; did you mean "inner.rate"', id="unknown key"),
        pytest.param({"many": [{"rat": 1}]}, 'unknown key "many.0.rat"; did you mean', id="unknown key in a list"),
        pytest.param({"maybe": {"rat": 1}}, 'unknown key "maybe.rat"', id="unknown key in an optional table"),
        pytest.param({"inner": {"rate": "x"}}, r"inner\.rate: input should be a valid number.*found 'x'", id="type"),
        pytest.param({"inner": {"rate": -1}}, r"inner\.rate: .*greater than 0.*found -1", id="range"),
        pytest.param(
            {"inner": {"interval": "x"}}, r"inner\.interval: .*valid integer", id="a key that begins with int"
        ),
        pytest.param({"inner": {"kind": "tail"}}, r"inner\.kind: .*'head' or 'all'", id="closed choice"),
        pytest.param({"name": "clash"}, "recipe: name and inner contradict each other", id="contradiction"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        validate(Outer, values, source="file.toml")
    assert str(caught.value).startswith("file.toml: ")
    assert "pydantic" not in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        validate(Outer, {"nme": "x", "inner": {"rate": -1}}, source="s")
    assert '"nme"' in str(caught.value)
    assert "inner.rate" in str(caught.value)


def test_text_that_is_no_toml_names_its_source_and_line() -> None:
    with pytest.raises(SettingsError, match=r"mine\.toml is not valid TOML.*line 2"):
        parse_toml("a = 1\nb = = 2", source="mine.toml")


def test_known_keys_reach_into_tables_and_lists() -> None:
    assert known_keys(Outer) >= {"name", "inner.rate", "many", "many.*.rate", "maybe.kind"}


PLAIN = (
    st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text("abc é")
)


@given(st.lists(st.text("abcdef_", min_size=1, max_size=5), min_size=1, max_size=4), PLAIN)
def test_what_toml_writes_is_what_an_override_reads(path: list[str], value: Any) -> None:
    text = tomli_w.dumps({"x": value}).removeprefix("x = ").strip()
    result: Any = apply_overrides({}, [f"{'.'.join(path)}={text}"])
    for part in path:
        result = result[part]
    assert result == value
    assert type(result) is type(value)
