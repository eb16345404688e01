"""Files out of PHOTOS into the quarantine of the workspace, and back. Nothing is ever deleted or overwritten.

Each move is in the log, on the disk, before it is made; where a file lies says whether it was made, so a killed process
leaves nothing to repair. Across file systems a file is copied, checked by its digest, and only then removed: a kill in
between leaves two equal copies, and `restore` keeps one. Which files go is decided in `clean.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from budwood.data.cleaning.line_log import LineLog
from budwood.data.cleaning.renaming import rename_without_overwriting
from budwood.data.records import Catalog, ImageRecord
from budwood.errors import DataError, IntegrityError
from budwood.files import escape_name, sha256_bytes, sha256_file, sync_folder, unescape_name

TOGETHER = 64  # files that are checked, logged and moved together: one wait for the disk
UNFINISHED = ".budwood-moving-"  # begins the name of a copy under way; hidden, so no scan takes it for a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One line of the log. ``path`` is the picture's id, ``place`` its file below the quarantine; both escaped.

    ``digest`` is the SHA-256 of the file's bytes, ``why`` what the plan said.
    """

    path: str
    place: str
    digest: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """``moved`` are paths; ``left`` are (path, why it stayed where it was)."""

    moved: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()

    def and_also(self, more: MoveResult) -> MoveResult:
        """Both results as one."""
        return MoveResult(moved=self.moved + more.moved, left=self.left + more.left)


class Quarantine:
    """The files of ``root`` that were moved into ``folder``, by the log beside it."""

    def __init__(self, folder: Path, log: Path, *, root: Path) -> None:
        self.folder = folder
        self.root = root
        self._log = LineLog(log)

    def held(self) -> tuple[Move, ...]:
        """The moves whose files lie in the quarantine now, in the order in which they were made.

        Raises:
            IntegrityError: the log was changed.
        """
        newest = {move.place: move for move in (self._move(values) for values in self._log.lines())}
        return tuple(move for move in newest.values() if os.path.lexists(self._inside(move)))

    def apply(self, catalog: Catalog, why: Mapping[str, str]) -> MoveResult:
        """Move the files of some pictures into the quarantine.

        Args:
            catalog: as scanned; a file that is not what was scanned is left alone.
            why: the reason for each path that shall go.

        Raises:
            OutputError: the log cannot be written; then nothing was moved.
        """
        with self._log.locked():
            self._sweep()
            targets = _link_targets(self.root, (r for r in catalog.records if r.path not in why))
            chosen = [record for record in catalog.records if record.path in why]
            result = MoveResult()
            for at in range(0, len(chosen), TOGETHER):
                result = result.and_also(self._apply_some(chosen[at : at + TOGETHER], why, targets))
            return result

    def _apply_some(self, chosen: list[ImageRecord], why: Mapping[str, str], targets: frozenset[str]) -> MoveResult:
        left: list[tuple[str, str]] = []
        moves: dict[str, Move] = {}
        for record in chosen:
            reason = self._obstacle(record, targets)
            if reason:
                left.append((record.path, reason))
            else:
                place = self._free_place(record.path, moves)
                moves[place] = Move(path=record.path, place=place, digest=record.file_digest, why=why[record.path])
        self._log.append([asdict(move) for move in moves.values()])
        made = _each([(move, self._outside(move), self._inside(move)) for move in moves.values()])
        return MoveResult(left=tuple(left)).and_also(made)

    def restore(self) -> MoveResult:
        """Bring every file back to where it was, with its time; files that have appeared there since are kept."""
        if not self._log.file.is_file():
            return MoveResult()
        with self._log.locked():
            self._sweep()
            result = _each([(move, self._inside(move), self._outside(move)) for move in reversed(self.held())])
            for folder, _, _ in os.walk(self.folder, topdown=False):
                with contextlib.suppress(OSError):  # one that still holds something stays
                    os.rmdir(folder)
        return result

    def _obstacle(self, record: ImageRecord, targets: frozenset[str]) -> str:
        """Why the file of a record must not be moved; empty when it may."""
        file = self.root / unescape_name(record.path)
        try:
            if file.is_symlink():
                return "it is a symbolic link; remove it by hand"
            if os.path.realpath(file) in targets:
                return "a symbolic link among the other pictures leads to it"
            if sha256_file(file) != record.file_digest:
                return "it was changed since the scan; run the command again"
        except OSError as error:
            return f"it cannot be read ({error.strerror or error})"
        return ""

    def _sweep(self) -> None:
        """Remove the halves of copies that a kill cut; their originals are where they were."""
        moves = [self._move(values) for values in self._log.lines()]
        for folder in {place.parent for move in moves for place in (self._inside(move), self._outside(move))}:
            for half in folder.glob(f"{UNFINISHED}*"):
                half.unlink(missing_ok=True)

    def _free_place(self, path: str, taken: Container[str]) -> str:
        """``path``, or with a number in its name when an earlier file lies there."""
        pure = PurePosixPath(path)
        place, number = path, 2
        while place in taken or os.path.lexists(self.folder / unescape_name(place)):
            place, number = str(pure.with_name(f"{pure.stem}~{number}{pure.suffix}")), number + 1
        return place

    def _outside(self, move: Move) -> Path:
        return self.root / unescape_name(move.path)

    def _inside(self, move: Move) -> Path:
        return self.folder / unescape_name(move.place)

    def _move(self, values: dict[str, Any]) -> Move:
        names = {field.name for field in fields(Move)}
        if set(values) != names or not all(isinstance(v, str) for v in values.values()):
            raise IntegrityError(f"{self._log.file} holds a line that is no move: {values!r}; it was changed")
        for name in (values["path"], values["place"]):
            parts = Path(unescape_name(name))
            if parts.is_absolute() or ".." in parts.parts or not parts.parts:
                raise IntegrityError(f"{self._log.file} names {name}, outside of the pictures; it was changed")
        return Move(**values)


def refuse_unmovable(photos: Path, catalog: Catalog) -> None:
    """Refuse to move files that are not the user's own folder of pictures.

    Raises:
        DataError: the pictures come from an archive, a table or arrays.
    """
    if not photos.is_dir() or photos.resolve() != catalog.root.resolve():
        raise DataError(
            f"{photos} is no folder of pictures, so no files can be moved out of it; without --apply the plan is made"
            " all the same, and a fit that is told to clean leaves these pictures out"
        )


def _each(moves: Iterable[tuple[Move, Path, Path]]) -> MoveResult:
    """Make each (move, from, to)."""
    moved: list[str] = []
    left: list[tuple[str, str]] = []
    folders: set[Path] = set()
    for move, source, target in moves:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _transfer(source, target)
        except FileExistsError:
            place = escape_name(str(source))
            left.append((move.path, f"another file has appeared at {escape_name(str(target))}; it stays in {place}"))
        except (OSError, IntegrityError) as error:
            left.append((move.path, f"the system refused ({getattr(error, 'strerror', None) or error})"))
        else:
            moved.append(move.path)
            folders |= {source.parent, target.parent}
    for folder in folders:
        sync_folder(folder)
    return MoveResult(moved=tuple(moved), left=tuple(left))


def _transfer(source: Path, target: Path) -> None:
    """Move one file, never over another; an equal one at ``target`` is what a killed copy left: then this one goes.

    Raises:
        FileExistsError: a different file is at ``target``. OSError, IntegrityError: it could not be moved.
    """
    try:
        rename_without_overwriting(source, target)
    except FileExistsError:
        if target.is_symlink() or not target.is_file() or sha256_file(target) != sha256_file(source):
            raise
        os.unlink(source)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(source, target)


def _copy_over(source: Path, target: Path) -> None:
    """Copy to another file system, check what arrived, give it its name, and only then remove the source."""
    unfinished = target.with_name(UNFINISHED + sha256_bytes(os.fsencode(target.name))[:16])
    try:
        shutil.copyfile(source, unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        shutil.copystat(source, unfinished)  # last: it may forbid writing
        if sha256_file(unfinished) != sha256_file(source):
            raise IntegrityError("the copy on the other disk differs from the file")
        rename_without_overwriting(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    os.unlink(source)


def _link_targets(root: Path, records: Iterable[ImageRecord]) -> frozenset[str]:
    """Where the symbolic links among some pictures lead to: moving such a file would break the link."""
    files = (str(root / unescape_name(record.path)) for record in records)
    return frozenset(os.path.realpath(file) for file in files if os.path.islink(file))
