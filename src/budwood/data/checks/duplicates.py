"""Equal and nearly equal pictures: copies, pictures that fill a class, copies with different labels.

Nearly equal pictures come as pairs, which `duplicates.near_duplicate_pairs` finds; without pairs, equal ones are
judged alone. Which of the copies should stay is not said here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budwood.data.checks.columns import readable
from budwood.data.records import Catalog, Finding, ImageRecord

REPEATED = 5  # copies: so many of one picture are no accident of copying a file twice
CROWDED = 50  # pictures: chains of likeness, not copies of one picture, make larger components
CLEAR_MAJORITY = 2 / 3  # of the copies must agree before their label is suggested for all

Paths = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two pictures, by path, that show the same; ``transform`` says how one becomes the other."""

    first: str
    second: str
    similarity: float
    transform: str


def exact_groups(catalog: Catalog) -> tuple[Paths, ...]:
    """Paths of readable pictures with equal bytes or equal pixels, in groups of two or more."""
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for record in readable(catalog):
        by_pixels[record.pixel_digest or record.file_digest].append(record.path)  # equal bytes: equal pixels
    return tuple(tuple(paths) for paths in by_pixels.values() if len(paths) > 1)


def components(links: Iterable[Sequence[str]]) -> tuple[Paths, ...]:
    """The connected components of paths that are tied by ``links``: sorted, each of two or more paths."""
    parent: dict[str, str] = {}

    def top(path: str) -> str:
        parent.setdefault(path, path)
        while parent[path] != path:
            parent[path] = parent[parent[path]]
            path = parent[path]
        return path

    for link in links:
        for path in link:
            parent[top(path)] = top(link[0])
    members: dict[str, list[str]] = defaultdict(list)
    for path in sorted(parent):
        members[top(path)].append(path)
    return tuple(sorted(tuple(paths) for paths in members.values() if len(paths) > 1))


def find_exact_duplicates(catalog: Catalog) -> list[Finding]:
    """One finding per group of equal pictures."""
    records = _by_path(catalog)
    findings = []
    for paths in exact_groups(catalog):
        same_bytes = len({records[path].file_digest for path in paths}) == 1
        evidence = f"{len(paths)} files hold the same {'bytes' if same_bytes else 'pixels'}"
        evidence += _other_labels(paths, records)
        findings.append(Finding(check="exact_duplicate", severity="warning", paths=paths, evidence=evidence, score=1.0))
    return findings


def find_near_duplicates(catalog: Catalog, pairs: Sequence[NearPair]) -> list[Finding]:
    """One finding per connected component of near pairs; equal pictures in it are named too."""
    records = _by_path(catalog)
    findings = []
    for paths, inside in _tied(catalog, pairs):
        if not inside:
            continue
        how = ", ".join(name for name, _ in Counter(pair.transform for pair in inside).most_common())
        weakest = min(pair.similarity for pair in inside)
        evidence = f"{len(paths)} pictures show the same ({how}; similarity {weakest:.2f} or more)"
        evidence += _other_labels(paths, records) + _crowd_warning(paths, inside)
        findings.append(
            Finding(check="near_duplicate", severity="warning", paths=paths, evidence=evidence, score=weakest)
        )
    return findings


def find_repeated_pictures(catalog: Catalog, pairs: Sequence[NearPair]) -> list[Finding]:
    """Pictures that are there `REPEATED` times or more, as equal or near copies: they weigh on their class.

    A chain of pairs is not enough: one picture of the component must be tied to `REPEATED` - 1 others directly.
    """
    records = _by_path(catalog)
    contents = {path: _content(record) for path, record in records.items()}
    in_class = Counter(record.label for record in records.values())
    findings = []
    for paths, inside in _tied(catalog, pairs):
        if len(paths) < REPEATED or _largest_star(paths, inside, contents) < REPEATED:
            continue
        label, count = Counter(records[path].label for path in paths).most_common(1)[0]
        share = count / in_class[label]
        evidence = (
            f"one picture is there {len(paths)} times{', as near copies' if inside else ''}:"
            f' {count} of the {in_class[label]} pictures of "{label}" ({100 * share:.2g} %)'
        )
        evidence += _other_labels(paths, records) + _crowd_warning(paths, inside)
        findings.append(
            Finding(check="repeated_picture", severity="warning", paths=paths, evidence=evidence, score=share)
        )
    return findings


def find_conflicting_labels(catalog: Catalog, pairs: Sequence[NearPair]) -> list[Finding]:
    """One finding per group of equal or near-equal pictures whose labels differ; a clear majority is suggested."""
    records = _by_path(catalog)
    findings = []
    for paths, inside in _tied(catalog, pairs):
        labels = Counter(records[path].label for path in paths)
        if len(labels) == 1:
            continue
        named = ", ".join(f'"{name}" ({count})' for name, count in sorted(labels.items(), key=lambda i: (-i[1], i[0])))
        alike = "equal or nearly equal" if inside else "equal"
        label, count = labels.most_common(1)[0]
        clear = count >= CLEAR_MAJORITY * len(paths) and len(paths) <= CROWDED
        findings.append(
            Finding(
                check="conflicting_labels",
                severity="error",
                paths=paths,
                evidence=f"{len(paths)} pictures are {alike}, but their labels differ: {named}"
                + _crowd_warning(paths, inside),
                score=min((pair.similarity for pair in inside), default=1.0),
                suggestion=label if clear else "",
            )
        )
    return findings


def _by_path(catalog: Catalog) -> dict[str, ImageRecord]:
    return {record.path: record for record in readable(catalog)}


def _content(record: ImageRecord) -> str:
    return record.pixel_digest or record.file_digest


def _tied(catalog: Catalog, pairs: Sequence[NearPair]) -> list[tuple[Paths, list[NearPair]]]:
    """Each component of equal and near-equal pictures, with the near pairs inside it."""
    by_path: dict[str, list[NearPair]] = defaultdict(list)
    for pair in pairs:
        by_path[pair.first].append(pair)
    links = [*exact_groups(catalog), *((pair.first, pair.second) for pair in pairs)]
    return [(paths, [pair for path in paths for pair in by_path.get(path, ())]) for paths in components(links)]


def _other_labels(paths: Paths, records: dict[str, ImageRecord]) -> str:
    labels = sorted({records[path].label for path in paths})
    return f", but the labels differ: {', '.join(labels)}" if len(labels) > 1 else ""


def _crowd_warning(paths: Paths, inside: list[NearPair]) -> str:
    if len(paths) <= CROWDED or not inside:
        return ""
    return (
        f"; a group of {len(paths)} may be tied by one wrong pair"
        f" (the least alike pair is {min(pair.similarity for pair in inside):.2f}): look before you exclude it"
    )


def _largest_star(paths: Paths, inside: list[NearPair], contents: dict[str, str]) -> int:
    """How many pictures of the component are tied to one of them directly, itself and its equal copies included."""
    copies = Counter(contents[path] for path in paths)
    around = {content: {content} for content in copies}
    for pair in inside:
        one, other = contents[pair.first], contents[pair.second]
        around[one].add(other)
        around[other].add(one)
    return max(sum(copies[content] for content in star) for star in around.values())
