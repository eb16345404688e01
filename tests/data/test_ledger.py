"""`catalog.csv`: what is written comes back exactly, hostile text included; a damaged file is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budwood.data.ledger import COLUMNS, read_catalog, write_catalog
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import IntegrityError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
RECORDS = st.builds(
    ImageRecord,
    path=TEXT,
    label=st.sampled_from(["a", "b\r\nc", '=cmd|"x"', "ü,;"]),
    group=TEXT,
    state=st.sampled_from(["ok", "unreadable", "excluded"]),
    reason=TEXT,
    num_bytes=st.integers(0, 2**60),
    file_digest=TEXT,
    pixel_digest=TEXT,
    width=st.integers(0, 99999),
    height=st.integers(0, 99999),
    mode=TEXT,
    format=TEXT,
    brightness=st.floats(0, 255),
)


def catalog_of(records: list[ImageRecord], *, extra: tuple[str, ...] = (), ignored: tuple[str, ...] = ()) -> Catalog:
    classes = tuple(sorted({r.label for r in records} | set(extra)))
    return Catalog(root=Path("/photos"), records=tuple(records), classes=classes, ignored=ignored)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORDS, max_size=6), ignored=st.lists(TEXT, max_size=3))
def test_round_trip_is_exact(tmp_path: Path, records: list[ImageRecord], ignored: list[str]) -> None:
    catalog = catalog_of(records, extra=("empty class",), ignored=tuple(ignored))
    write_catalog(catalog, tmp_path / "catalog.csv")
    again = read_catalog(tmp_path / "catalog.csv", Path("/photos"))
    assert again == catalog
    assert again.fingerprint == catalog.fingerprint


def test_every_field_of_a_record_is_a_column(tmp_path: Path) -> None:
    write_catalog(catalog_of([]), tmp_path / "catalog.csv")
    assert tuple(f.name for f in fields(ImageRecord)) == COLUMNS
    assert (tmp_path / "catalog.csv").read_text() == ",".join(f'"{name}"' for name in COLUMNS) + "\n"


def test_missing_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="cannot be read as a catalog"):
        read_catalog(tmp_path / "none.csv", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"path"', '"paths"', "its first line must be"),
        ('"a.png",', "", "row 2 has 19 fields, expected 20"),
        ('"ok"', '"fine"', "the state 'fine' is none of ok"),
        ('"640"', '"wide"', "row 2.*wide"),
    ],
    ids=["header", "row", "state", "number"],
)
def test_changed_ledger_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    write_catalog(catalog_of([ImageRecord(path="a.png", label="a", width=640)]), tmp_path / "catalog.csv")
    text = (tmp_path / "catalog.csv").read_text()
    assert old in text
    (tmp_path / "catalog.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(IntegrityError, match=words):
        read_catalog(tmp_path / "catalog.csv", tmp_path)
