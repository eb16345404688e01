"""Tables of paths and labels: columns, encodings, separators, base folders, and each kind of bad row in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from budwood.data.inputs import table_text
from budwood.data.inputs.listing import Listing
from budwood.data.inputs.tables import list_table
from budwood.errors import DataError
from budwood.events import Event, StepFinished, Warned
from budwood.files import unescape_name

PICTURES = ("oak/1.jpg", "oak/2.jpg", "elm/3.jpg", "elm/4.png")
ROWS = "oak/1.jpg,oak\noak/2.jpg,oak\nelm/3.jpg,elm\nelm/4.png,elm\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four empty pictures below oak and elm."""
    for name in PICTURES:
        touch(tmp_path / "set" / name)
    return tmp_path / "set"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def table(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def labels(listing: Listing) -> dict[str, str]:
    return {entry.path: entry.label for entry in listing.entries}


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Warned)]


TRUTH = {"elm/3.jpg": "elm", "elm/4.png": "elm", "oak/1.jpg": "oak", "oak/2.jpg": "oak"}


def test_rows_become_entries_that_are_found_again(folder: Path) -> None:
    listing = list_table(table(folder, "path,label\n" + ROWS))
    assert labels(listing) == TRUTH
    assert listing.classes == ("elm", "oak")
    assert listing.root == folder
    assert [e.place for e in listing.entries] == [str(listing.root / unescape_name(e.path)) for e in listing.entries]
    assert [e.path for e in listing.entries] == sorted(TRUTH)


@pytest.mark.parametrize(
    "header",
    ["path,label", "File,CLASS", "Image Path,species", "file_name,target", "image-id,Category", "id,breed", "IMG,dx"],
)
def test_common_column_names_are_known_in_any_case(folder: Path, header: str) -> None:
    events: list[Event] = []
    assert labels(list_table(table(folder, f"{header}\n{ROWS}"), listen=events.append)) == TRUTH
    (finished,) = [event for event in events if isinstance(event, StepFinished)]
    path, label = header.split(",")
    assert finished.note == f'4 rows: path from "{path}", label from "{label}"'
    assert warnings(events) == []


def test_the_choice_between_columns_is_said(folder: Path) -> None:
    events: list[Event] = []
    rows = "".join(f"{n},{row},x\n" for n, row in enumerate(ROWS.split()))
    listing = list_table(table(folder, f"id,file,species,class\n{rows}"), listen=events.append)
    assert set(labels(listing).values()) == {"x"}
    assert [text.partition(": ")[2] for text in warnings(events)] == [
        'the path is taken from the column "file", not from "id"',
        'the label is taken from the column "class", not from "species"',
    ]


def test_groups_and_parts_reach_the_entries(folder: Path) -> None:
    rows = "oak/1.jpg,oak,p1,Training\noak/2.jpg,oak,p1,test\nelm/3.jpg,elm,,train\nelm/4.png,elm,p2,VALID\n"
    listing = list_table(table(folder, "path,label,Plant_ID,split\n" + rows))
    assert {e.path: (e.group, e.part) for e in listing.entries} == {
        "oak/1.jpg": ("p1", "train"),
        "oak/2.jpg": ("p1", "test"),
        "elm/3.jpg": ("", "train"),
        "elm/4.png": ("p2", "val"),
    }


def test_an_empty_part_column_divides_nothing(folder: Path) -> None:
    rows = ROWS.replace("\n", ",\n")
    assert {e.part for e in list_table(table(folder, f"path,label,part\n{rows}")).entries} == {""}


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["with a mark", "without"])
@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", "\t")])
def test_separators_and_byte_order_marks(folder: Path, mark: bytes, name: str, separator: str) -> None:
    text = ("path,label\r\n" + ROWS.replace("\n", "\r\n")).replace(",", separator)
    assert labels(list_table(table(folder, mark + text.encode(), name))) == TRUTH


def test_utf16_of_a_spreadsheet_is_read(folder: Path) -> None:
    assert labels(list_table(table(folder, ("path\tlabel\n" + ROWS.replace(",", "\t")).encode("utf-16")))) == TRUTH


def test_quotes_blank_lines_and_cells_left_over(folder: Path) -> None:
    touch(folder / 'a, "b"\nc.jpg')
    listing = list_table(table(folder, 'path,label\n\n"a, ""b""\nc.jpg"," sweet, oak ",\n , \noak/1.jpg,oak\n'))
    assert set(labels(listing).values()) == {"sweet, oak", "oak"}
    assert len(listing.entries) == 2


def test_latin_1_is_read_and_said(folder: Path) -> None:
    touch(folder / "1.jpg")
    events: list[Event] = []
    listing = list_table(table(folder, b"path,label\n1.jpg,ch\xeane\noak/1.jpg,oak\n"), listen=events.append)
    assert labels(listing)["1.jpg"] == "chêne"
    assert "Latin-1" in warnings(events)[0]


def test_file_names_of_raw_bytes_are_found(folder: Path) -> None:
    raw = os.fsencode(folder) + b"/caf\xe9.jpg"
    os.close(os.open(raw, os.O_CREAT))
    listing = list_table(table(folder, b"path,label\ncaf\xe9.jpg,a\noak/1.jpg,oak\n"))
    assert labels(listing) == {"caf\\xe9.jpg": "a", "oak/1.jpg": "oak"}
    assert os.path.isfile(listing.root / unescape_name(listing.entries[0].path))
    assert labels(list_table(table(folder, "path,label\ncaf\\xe9.jpg,a\noak/1.jpg,oak\n"))) == labels(listing)


def test_paths_of_windows_absolute_paths_and_ways_out_of_the_folder(folder: Path) -> None:
    other = touch(folder.parent / "other" / "5.jpg")
    text = f"path,label\noak\\1.jpg,oak\n{other},elm\n../set/elm/3.jpg,elm\noak/../oak/2.jpg,oak\n"
    listing = list_table(table(folder, text))
    assert listing.root == folder.parent
    assert labels(listing) == {
        "other/5.jpg": "elm",
        "set/elm/3.jpg": "elm",
        "set/oak/1.jpg": "oak",
        "set/oak/2.jpg": "oak",
    }


def test_a_way_out_through_a_link_is_followed_as_the_system_does(folder: Path) -> None:
    far = touch(folder.parent / "far" / "deep" / "0.jpg")
    touch(folder.parent / "far" / "9.jpg")
    (folder / "link").symlink_to(far.parent)
    listing = list_table(table(folder, "path,label\nlink/../9.jpg,a\nlink/0.jpg,b\n"))
    assert labels(listing) == {"9.jpg": "a", "deep/0.jpg": "b"}
    assert listing.root == folder.parent / "far"


def test_identifiers_without_a_suffix_are_found(folder: Path) -> None:
    assert labels(list_table(table(folder, "id,label\noak/1,oak\noak/2,oak\nelm/4,elm\n"))) == {
        "oak/1.jpg": "oak",
        "oak/2.jpg": "oak",
        "elm/4.png": "elm",
    }


def test_paths_may_begin_in_the_only_folder_beside_the_table_that_fits(folder: Path) -> None:
    (folder / "oak").rename(folder / "images")
    events: list[Event] = []
    listing = list_table(table(folder, "image,label\n1,a\n2,b\n"), listen=events.append)
    assert labels(listing) == {"1.jpg": "a", "2.jpg": "b"}
    assert listing.root == folder / "images"
    (finished,) = [event for event in events if isinstance(event, StepFinished)]
    assert finished.note.endswith(f"paths begin in {folder / 'images'}")


def test_two_folders_that_fit_are_not_guessed_between(folder: Path) -> None:
    for name in ("train/5.jpg", "train/6.jpg", "test/5.jpg", "test/6.jpg"):
        touch(folder / name)
    with pytest.raises(DataError, match=r"test and also in .*train; write the folder into the paths"):
        list_table(table(folder, "path,label\n5.jpg,a\n6.jpg,b\n"))


def test_missing_files_are_passed_over_with_their_line(folder: Path) -> None:
    (folder / "folder.jpg").mkdir()
    listing = list_table(table(folder, f"path,label\n{ROWS}gone.jpg,oak\nfolder.jpg,oak\n"))
    assert labels(listing) == TRUTH
    assert listing.ignored == (
        "folder.jpg: line 7 names it, and there is no such file",
        "gone.jpg: line 6 names it, and there is no such file",
    )


def test_mostly_missing_files_are_an_error_that_says_where_was_looked(folder: Path) -> None:
    with pytest.raises(DataError, match=r"3 of the 4 files.*\"x/1.jpg\" \(line 3\), looked for in .*/set and"):
        list_table(table(folder, "path,label\noak/1.jpg,oak\nx/1.jpg,a\nx/2.jpg,a\nx/3.jpg,a\n"))


def test_a_picture_named_twice_counts_once(folder: Path) -> None:
    listing = list_table(table(folder, f"path,label\n{ROWS}oak/../oak/1.jpg,oak\n"))
    assert labels(listing) == TRUTH
    assert listing.ignored == ("oak/../oak/1.jpg: line 6 names it again (first on line 2); it counts once",)


@pytest.mark.parametrize(
    ("header", "again", "words"),
    [
        ("path,label,group,part", "oak/1.jpg,elm,g,train", 'label "oak" on line 2 and "elm" on line 6'),
        ("path,label,group,part", "oak/1.jpg,oak,g,test", 'part "train" on line 2 and "test" on line 6'),
        ("path,label,group,part", "oak/1.jpg,oak,h,train", 'group "g" on line 2 and "h" on line 6'),
    ],
    ids=["label", "part", "group"],
)
def test_rows_that_contradict_each_other_are_named(folder: Path, header: str, again: str, words: str) -> None:
    rows = "".join(f"{row},g,train\n" for row in ROWS.split())
    with pytest.raises(DataError, match=words):
        list_table(table(folder, f"{header}\n{rows}{again}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; a header"),
        ("\n\n", "is empty; a header"),
        ("path,label\n", "a header and no rows"),
        ("path\noak/1.jpg\n", "has one column"),
        (ROWS, 'no column for the path and the label: its first line is "oak/1.jpg", "oak"'),
        ("path,colour\noak/1.jpg,red\n", "no column for the label"),
        ("colour,label\nred,oak\n", "no column for the path"),
        ("path,label\noak/1.jpg,oak\n,elm\n", r'1 of 2 rows have no path in the column "path" \(line 3\)'),
        ("path,label\noak/1.jpg, \noak/2.jpg\n", r'2 of 2 rows have no label in the column "label".*\(line 2, 3\)'),
        ("path,label,part\noak/1.jpg,oak,dev\n", r"else than train, val or test.*\(line 2\)"),
        ("path,label,part\noak/1.jpg,oak,train\noak/2.jpg,oak,\n", r"else than train, val or test.*\(line 3\)"),
        ("path,label,part\noak/1.jpg,oak,train\noak/2.jpg,oak,train\n", "only the part train"),
        ("path,label,part\noak/1.jpg,oak,train\nelm/3.jpg,elm,test\n", '"elm" is in test'),
        ("path,label\noak/1.jpg,sweet,oak\n", "line 2 has 3 cells, the header 2"),
        ('path,label\n"oak/1.jpg,oak\n', "line 2: unexpected end of data; a quote"),
        ("path,label\noak/1.jpg," + "x" * 200_000 + "\n", "field larger than field limit"),
        (b"path,label\noak/1.jpg,\0\n", "holds NUL"),
    ],
    ids=["empty", "blank", "no rows", "one column", "no header", "no label column", "no path column", "no path",
         "no label", "bad part", "half a part", "train alone", "unknown class", "too many cells", "open quote",
         "huge cell", "binary"],
)  # fmt: skip
def test_unusable_tables_are_refused_in_words(folder: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list_table(table(folder, text))


def test_limits_on_size_and_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(folder, "path,label\n" + ROWS)
    monkeypatch.setattr(table_text, "MAX_ROWS", 3)
    with pytest.raises(DataError, match="more than the 3 rows"):
        list_table(path)
    monkeypatch.setattr(table_text, "MAX_TABLE_BYTES", 10)
    with pytest.raises(DataError, match="MB allowed for a table"):
        list_table(path)


def test_hostile_cells_are_missing_files_and_nothing_else(folder: Path) -> None:
    cells = ["/dev/null", "x" * 5000, "\ud7ff", "..", ".", "/", "~", "\\u", "\\xzz", "http://example.org/1.jpg"]
    rows = "".join(f'"{cell}",oak\n' for cell in cells)
    listing = list_table(table(folder, f"path,label\n{ROWS}{ROWS}{ROWS}{rows}"))
    assert labels(listing) == TRUTH
    assert sum("no such file" in line for line in listing.ignored) == len(cells)


def test_labels_of_control_characters_are_escaped(folder: Path) -> None:
    listing = list_table(table(folder, "path,label\noak/1.jpg,a\x1b[31m\noak/2.jpg,b\\c\n"))
    assert labels(listing) == {"1.jpg": "a\\u001b[31m", "2.jpg": "b\\\\c"}


def test_without_need_of_labels_paths_are_enough(folder: Path) -> None:
    listing = list_table(table(folder, "path,colour\noak/1.jpg,red\n"), needs_labels=False)
    assert labels(listing) == {"1.jpg": ""}
