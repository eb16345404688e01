"""Which column of a table holds the path, the label, the group and the part: by common names, in any case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from budwood.errors import DataError

Role = Literal["path", "label", "group", "part"]

# In the order of preference; compared without case, spaces, hyphens and underscores.
NAMES: dict[Role, tuple[str, ...]] = {
    "path": ("path", "filepath", "imagepath", "file", "filename", "imagefile", "imagename", "image", "img", "picture",
             "photo", "imageid", "imgid", "id"),
    "label": ("label", "labels", "class", "classname", "labelname", "target", "species", "category", "diagnosis", "dx",
              "breed", "y"),
    "group": ("group", "groups", "groupid", "subject", "subjectid", "patient", "patientid", "plant", "plantid",
              "individual", "individualid", "specimen", "specimenid", "lesionid"),
    "part": ("part", "split", "set", "subset", "partition", "foldname"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The place of each role in a row; None where the table has no such column."""

    path: int
    label: int | None
    group: int | None
    part: int | None
    taken: str
    doubts: tuple[str, ...]


def choose_columns(header: tuple[str, ...], *, name: str, needs_labels: bool = True) -> Columns:
    """Find the columns in a header.

    Args:
        header: the cells of the first line.
        name: what messages call the table.
        needs_labels: a table without labels is an error.

    Returns:
        The columns; ``taken`` tells the choice in words, ``doubts`` where several columns could have been meant.

    Raises:
        DataError: there is no column for the path, or none for the label.
    """
    words = ["".join(char for char in cell.lower() if char not in " _-") for cell in header]
    found: dict[Role, int | None] = {}
    doubts = []
    for role, names in NAMES.items():
        places = [at for word in names for at, cell in enumerate(words) if cell == word]
        found[role] = places[0] if places else None
        if len(places) > 1:
            others = ", ".join(f'"{header[at]}"' for at in places[1:])
            doubts.append(f'the {role} is taken from the column "{header[places[0]]}", not from {others}')
    missing: list[Role] = [role for role in ("path", "label") if found[role] is None]
    if not needs_labels:
        missing = [role for role in missing if role == "path"]
    if missing:
        raise DataError(_lacking(header, missing, name=name))
    taken = ", ".join(f'{role} from "{header[at]}"' for role, at in found.items() if at is not None)
    path = found["path"]
    assert path is not None
    return Columns(
        path=path, label=found["label"], group=found["group"], part=found["part"], taken=taken, doubts=tuple(doubts)
    )


def _lacking(header: tuple[str, ...], missing: list[Role], *, name: str) -> str:
    shown = ", ".join(f'"{cell[:40]}"' for cell in header[:8])
    if len(header) == 1:
        return (
            f"{name} has one column, {shown}; at least two are expected, such as path,label (divided by commas,"
            " semicolons or tabs)"
        )
    known = "; ".join(f"the {role} may be called {', '.join(NAMES[role][:8])}" for role in missing)
    return (
        f"{name} has no column for the {' and the '.join(missing)}: its first line is {shown}. A header is needed, such"
        f" as path,label ({known})"
    )
