"""Equal and near-equal pictures: groups, repeats, contradicting labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from budwood.data.audit import audit
from budwood.data.checks import (
    NearPair,
    components,
    exact_groups,
    find_conflicting_labels,
    find_exact_duplicates,
    find_near_duplicates,
    find_repeated_pictures,
)
from budwood.data.checks.duplicates import CROWDED, REPEATED
from budwood.data.scan import scan
from budwood.data.store import PictureStore


def pair(first: str, second: str, *, similarity: float = 0.9, transform: str = "mirrored") -> NearPair:
    return NearPair(first=first, second=second, similarity=similarity, transform=transform)


def test_equal_bytes_and_equal_pixels_are_one_group_each(record, catalog_of) -> None:
    catalog = catalog_of(
        record("a/1.jpg", file_digest="f", pixel_digest="p"),
        record("a/2.jpg", file_digest="f", pixel_digest="p"),
        record("a/3.jpg", pixel_digest="q"),
        record("b/4.png", pixel_digest="q"),
        record("b/5.png"),
    )
    same, other = find_exact_duplicates(catalog)
    assert exact_groups(catalog) == (("a/1.jpg", "a/2.jpg"), ("a/3.jpg", "b/4.png"))
    assert (same.severity, same.evidence) == ("warning", "2 files hold the same bytes")
    assert other.evidence == "2 files hold the same pixels, but the labels differ: a, b"


def test_unreadable_files_with_equal_bytes_are_no_duplicates(record, catalog_of) -> None:
    bad = [record(p, state="unreadable", file_digest="f", pixel_digest="") for p in ("a/1.jpg", "a/2.jpg")]
    assert find_exact_duplicates(catalog_of(*bad)) == []


def test_near_pairs_become_one_finding_per_component(record, catalog_of) -> None:
    catalog = catalog_of(*[record(f"a/{n}") for n in range(5)], record("b/9"))
    pairs = [
        pair("a/0", "a/1"),
        pair("a/1", "a/2", similarity=0.8),
        pair("a/2", "a/3", similarity=0.95, transform="quarter turn"),
        pair("a/4", "b/9", similarity=0.7, transform="crop"),
    ]
    same, other = find_near_duplicates(catalog, pairs)
    assert same.paths == ("a/0", "a/1", "a/2", "a/3")
    assert same.evidence == "4 pictures show the same (mirrored, quarter turn; similarity 0.80 or more)"
    assert (same.severity, same.score) == ("warning", 0.8)
    assert other.paths == ("a/4", "b/9")
    assert "crop" in other.evidence


def test_near_finding_takes_in_exact_copies(record, catalog_of) -> None:
    catalog = catalog_of(record("a/0"), record("a/1", pixel_digest="q"), record("b/1", pixel_digest="q"))
    (finding,) = find_near_duplicates(catalog, [pair("a/0", "a/1")])
    assert finding.paths == ("a/0", "a/1", "b/1")


def test_exact_groups_alone_make_no_near_finding(problems) -> None:
    assert find_near_duplicates(problems, []) == []


def test_components_do_not_depend_on_order_and_drop_singles() -> None:
    links = [("d", "c"), ("a", "b"), ("b", "c"), ("x",), (), ("z", "y")]
    assert components(links) == (("a", "b", "c", "d"), ("y", "z"))
    assert components(reversed(links)) == components(links)


def test_a_crowd_of_near_pictures_is_one_finding_that_tells_its_size_and_warns(record, catalog_of) -> None:
    count = CROWDED + 1
    chain = [pair(f"a/{n:03}", f"a/{n + 1:03}", similarity=0.7 + n / 1000) for n in range(count - 1)]
    catalog = catalog_of(*[record(f"a/{n:03}") for n in range(count)])
    (finding,) = find_near_duplicates(catalog, chain)
    assert len(finding.paths) == count
    assert f"a group of {count} may be tied by one wrong pair" in finding.evidence
    (smaller,) = find_near_duplicates(catalog, chain[:-1])
    assert "wrong pair" not in smaller.evidence


def test_equal_pictures_in_a_crowd_need_no_warning(record, catalog_of) -> None:
    catalog = catalog_of(*[record(f"a/{n:03}", pixel_digest="p") for n in range(CROWDED + 1)])
    (finding,) = find_repeated_pictures(catalog, [])
    assert "wrong pair" not in finding.evidence


def test_a_picture_is_repeated_from_five_copies_on_and_its_share_is_told(record, catalog_of) -> None:
    others = [record(f"a/x{n}") for n in range(10)]
    copies = [record(f"a/{n}", pixel_digest="p") for n in range(REPEATED)]
    (finding,) = find_repeated_pictures(catalog_of(*others, *copies), [])
    assert finding.paths == tuple(r.path for r in copies)
    assert finding.evidence == 'one picture is there 5 times: 5 of the 15 pictures of "a" (33 %)'
    assert finding.severity == "warning"
    assert find_repeated_pictures(catalog_of(*others, *copies[1:]), []) == []


def test_a_chain_of_near_pictures_is_not_one_picture_repeated(record, catalog_of) -> None:
    catalog = catalog_of(*[record(f"a/{n}") for n in range(9)])
    chain = [pair(f"a/{n}", f"a/{n + 1}") for n in range(8)]
    star = [pair("a/0", f"a/{n}") for n in range(1, 5)]
    assert find_repeated_pictures(catalog, chain) == []
    (finding,) = find_repeated_pictures(catalog, star)
    assert "as near copies" in finding.evidence


def test_equal_copies_count_when_a_near_pair_names_only_one_of_them(record, catalog_of) -> None:
    copies = [record(f"a/{n}", pixel_digest="p") for n in range(4)]
    (finding,) = find_repeated_pictures(catalog_of(*copies, record("a/9")), [pair("a/0", "a/9")])
    assert len(finding.paths) == 5


def test_conflicting_labels_are_one_error_a_group_with_their_counts(record, catalog_of) -> None:
    equal = [record(p, pixel_digest="p") for p in ("a/1", "a/2", "b/1")]
    near = [record("a/3"), record("b/2"), record("c/1")]
    pairs = [pair("a/3", "b/2", similarity=0.8), pair("b/2", "c/1")]
    first, second = find_conflicting_labels(catalog_of(*equal, *near), pairs)
    assert (first.severity, first.paths, first.score) == ("error", ("a/1", "a/2", "b/1"), 1.0)
    assert first.evidence == '3 pictures are equal, but their labels differ: "a" (2), "b" (1)'
    assert second.evidence == '3 pictures are equal or nearly equal, but their labels differ: "a" (1), "b" (1), "c" (1)'
    assert (first.suggestion, second.suggestion, second.score) == ("a", "", 0.8)


def test_no_label_is_suggested_without_a_clear_majority_or_in_a_crowd(record, catalog_of) -> None:
    tie = [record(p, pixel_digest="p") for p in ("a/1", "a/2", "a/3", "b/1", "b/2")]
    crowd = [record(f"a/{n:03}", pixel_digest="q") for n in range(CROWDED)] + [record("b/9", pixel_digest="q")]
    assert [f.suggestion for f in find_conflicting_labels(catalog_of(*tie, *crowd), [])] == ["", ""]


def test_copies_with_one_label_do_not_conflict(record, catalog_of) -> None:
    assert find_conflicting_labels(catalog_of(record("a/1"), record("a/2")), [pair("a/1", "a/2")]) == []


def test_both_pictures_that_are_there_98_times_are_found_and_nothing_else(tmp_path: Path) -> None:
    """Report A1: two pictures, 98 times each, at random among the others."""
    rng = np.random.default_rng(1)
    expected: list[set[str]] = []
    for number in range(24):
        small = Image.fromarray(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8))
        times = 98 if number in (7, 16) else 1
        names = {f"{'ab'[number % 2]}/{number:02}-{copy:02}.png" for copy in range(times)}
        for name in names:
            (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            small.resize((16, 16), Image.Resampling.BICUBIC).save(tmp_path / "photos" / name)
        expected += [names] if times > 1 else []
    store = PictureStore(tmp_path / "store", side=32)
    findings = audit(scan(tmp_path / "photos", store=store), store).findings
    repeated = [finding for finding in findings if finding.check == "repeated_picture"]
    assert sorted(map(sorted, (f.paths for f in repeated))) == sorted(map(sorted, expected))
    assert all(f.evidence.startswith("one picture is there 98 times") for f in repeated)
