"""The test lock: every look at a test part is counted, in ``.budwood/<photos>/test_looks.jsonl``, and never forgotten.

A test part is recognised by its pictures (path, label, pixels), so cleaning the training part, or adding to it, does
not make it fresh again. The count says how often; what several looks are worth is `evaluation/optimism.py`'s matter.
It cannot see looks from another working folder, nor a bundle scored on the same pictures by `budwood evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from budwood.data.cleaning.line_log import LineLog
from budwood.data.records import Catalog
from budwood.data.split_nouns import Split
from budwood.errors import IntegrityError
from budwood.evaluation.optimism import expected_optimism
from budwood.files import escape_name, sha256_bytes
from budwood.workspace import workspace, writable_workspace

FILE_NAME = "test_looks.jsonl"
_DIGITS = 16  # of each fingerprint in a project's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look: when, by which run folder, with which recipe and seed, and what for (``fit``, ``ensemble``...).

    test: the fingerprint of the test part. settings: a digest of all settings; a resumed run has the same. members: of
    what was scored together, as one decision; lines that were written before this was kept have none.
    """

    time: str
    run: str
    kind: str
    recipe: str
    seed: int | None
    settings: str
    catalog: str
    test: str
    members: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, one line of the file."""
        named = {"members": list(self.members)} if self.members else {}
        return {**{name: getattr(self, name) for name in _FIELDS}, **named}


_FIELDS = ("time", "run", "kind", "recipe", "seed", "settings", "catalog", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """In whose name a look is counted; the same run, kind and settings are one look, however often they come.

    run: the run's folder. kind: what looks, such as ``fit``. recipe, seed: for people who read the file. settings: the
    whole recipe as text; only its digest is kept. members: their names, where a group is scored as one decision.
    """

    run: Path
    kind: str
    recipe: str = ""
    seed: int | None = None
    settings: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Which look this is (1 is the first), those before it, and the project: catalog and test part, shortened."""

    number: int
    project: str
    earlier: tuple[Look, ...] = field(default=())

    def words(self, *, pictures: int, accuracy: float) -> str:
        """The sentence for the report.

        Args:
            pictures, accuracy: of the test part, as this look found it.
        """
        if self.number <= 1:
            return "looked at once"
        extra = 100 * expected_optimism(self.number, pictures=pictures, accuracy=accuracy)
        return (
            f"this test part has been looked at {self.number} times; the best of several looks is optimistic, here by"
            f" up to {extra:.1f} points"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {"number": self.number, "project": self.project, "earlier": [look.to_dict() for look in self.earlier]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Looks:
        """What `to_dict` gave."""
        earlier = tuple(_look(each, where="the looks kept with the run") for each in values["earlier"])
        return cls(number=int(values["number"]), project=str(values["project"]), earlier=earlier)


def count_look(photos: Path, split: Split, catalog: Catalog, *, looking: Looking) -> Looks:
    """Count a look at the test part of ``split``, before it is taken; the line is on the disk when this returns.

    A run that is resumed is not counted twice, and members that are trained, scored and joined by one command are one
    look in the name of the ensemble: nobody chose between them.

    Args:
        photos: what the command was given; its workspace keeps the count.

    Raises:
        OutputError: the file cannot be written, or the working folder lies inside ``photos``.
        IntegrityError: the file was changed.
    """
    log = LineLog(writable_workspace(photos).path / FILE_NAME)
    test = fingerprint_of_test_part(split, catalog)
    look = Look(
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        run=escape_name(str(looking.run.resolve())),
        kind=looking.kind,
        recipe=looking.recipe,
        seed=looking.seed,
        settings=sha256_bytes(looking.settings.encode())[:_DIGITS],
        catalog=catalog.fingerprint,
        test=test,
        members=tuple(escape_name(name) for name in looking.members),
    )
    with log.locked():  # reading and adding are one step: two processes must not both be the first
        known = _of(_read(log), test)
        number = next((i for i, each in enumerate(known) if _same(each, look)), len(known))
        if number == len(known):
            log.append([look.to_dict()])
    return Looks(number=number + 1, project=_project(catalog, test), earlier=tuple(known[:number]))


def looks_at(photos: Path, split: Split, catalog: Catalog) -> Looks:
    """All looks so far, without counting one; ``number`` 0 where there was none. The last is in ``earlier`` too."""
    test = fingerprint_of_test_part(split, catalog)
    known = _of(_read(LineLog(workspace(photos).path / FILE_NAME)), test)
    return Looks(number=len(known), project=_project(catalog, test), earlier=tuple(known))


def fingerprint_of_test_part(split: Split, catalog: Catalog) -> str:
    """A digest of (path, label, pixels) of the test pictures, whatever the other parts hold."""
    records = sorted((catalog.records[i] for i in split.parts["test"]), key=lambda record: record.path)
    return sha256_bytes("\n".join(f"{r.path}\0{r.label}\0{r.pixel_digest}" for r in records).encode("utf-8"))


def _project(catalog: Catalog, test: str) -> str:
    return f"{catalog.fingerprint[:_DIGITS]}-{test[:_DIGITS]}"


def _same(a: Look, b: Look) -> bool:
    return (a.run, a.kind, a.settings) == (b.run, b.kind, b.settings)


def _of(looks: Iterable[Look], test: str) -> list[Look]:
    return [look for look in looks if look.test == test]


def _read(log: LineLog) -> list[Look]:
    return [_look(values, where=str(log.file)) for values in log.lines()]


def _look(values: dict[str, Any], *, where: str) -> Look:
    try:
        return Look(**{name: values[name] for name in _FIELDS}, members=tuple(values.get("members", ())))
    except KeyError as error:
        raise IntegrityError(f"{where} holds a look without {error}; it was changed") from error
