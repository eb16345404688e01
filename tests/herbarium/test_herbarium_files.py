"""The drawn folder: bytes, counts, and a truth that matches the files."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from budwood.errors import OutputError, UsageError
from budwood.events import StepAdvanced, StepFinished, StepStarted
from budwood.herbarium import SPECIES, draw_herbarium
from budwood.herbarium.draw import plan_sheets, share_out
from budwood.herbarium.faults import HOWS, NUM_IN_480

SMALL = {"num_pictures": 24, "size": 32, "species": SPECIES[:3], "faults": False}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A herbarium with faults, its truth, and the truth's faults by kind."""
    herbarium = draw_herbarium(tmp_path_factory.mktemp("herbarium"), num_pictures=192, size=48)
    truth = json.loads(herbarium.truth.read_text())
    by_kind = {kind: [f for f in truth["faults"] if f["kind"] == kind] for kind in NUM_IN_480}
    return herbarium, truth, by_kind


def contents(herbarium):
    root = herbarium.photos.parent
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path):
    first, again, other = (
        contents(draw_herbarium(tmp_path / name, seed=seed, num_pictures=32, size=32))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert len(first) == 33
    assert first != other


def test_no_faults_gives_clean_balanced_classes(tmp_path):
    herbarium = draw_herbarium(tmp_path, **SMALL)
    counts = {folder.name: len(list(folder.iterdir())) for folder in herbarium.photos.iterdir()}
    truth = json.loads(herbarium.truth.read_text())
    assert counts == dict.fromkeys(SPECIES[:3], 8)
    assert truth["faults"] == []
    assert all(path.split("/")[0] == true for path, true in truth["labels"].items())
    assert len({p.read_bytes() for p in herbarium.photos.rglob("*.jpg")}) == 24


def test_default_counts_are_six_common_and_two_rare_species():
    counts = share_out(446, SPECIES)
    assert sum(counts.values()) == 446
    assert sorted(counts.values())[:2] == [18, 18]
    assert all(66 <= n <= 70 for n in sorted(counts.values())[2:])


@pytest.mark.parametrize("num_pictures", [24, 25, 100, 480])
def test_the_plan_holds_the_asked_number_of_files_with_names_that_tell_nothing(num_pictures):
    sheets = plan_sheets(seed=5, num_pictures=num_pictures, faults=True, species=SPECIES)
    names = [sheet.path.split("/")[1] for sheet in sheets]
    assert len(set(names)) == num_pictures
    assert sorted(names) == [f"IMG_{i + 1:04d}.jpg" for i in range(num_pictures)]
    assert len({sheet.fault.path for sheet in sheets if sheet.fault}) == sum(1 for s in sheets if s.fault)


def test_480_files_hold_the_announced_faults_in_all_their_ways():
    sheets = plan_sheets(seed=7, num_pictures=480, faults=True, species=SPECIES)
    faults = [sheet.fault for sheet in sheets if sheet.fault]
    for kind, count in NUM_IN_480.items():
        assert sum(f.kind == kind for f in faults) == count
        assert {f.how for f in faults if f.kind == kind} == set(HOWS[kind])


def test_every_file_is_in_the_truth_once(drawn):
    herbarium, truth, by_kind = drawn
    files = {p.relative_to(herbarium.photos).as_posix() for p in herbarium.photos.rglob("*.jpg")}
    broken = {f["path"] for f in by_kind["unreadable"]}
    assert len(files) == herbarium.num_pictures == 192
    assert files == set(truth["labels"]) | broken
    assert not broken & set(truth["labels"])
    assert all(faults for faults in by_kind.values())


def test_unreadable_files_cannot_be_decoded_and_all_others_can(drawn):
    herbarium, truth, by_kind = drawn
    for fault in by_kind["unreadable"]:
        with pytest.raises(OSError, match=r"."):
            pixels(herbarium.photos / fault["path"])
    for path in truth["labels"]:
        assert pixels(herbarium.photos / path).ndim == 3


def test_exact_duplicates_are_equal_and_some_conflict(drawn):
    herbarium, _, by_kind = drawn
    for fault in by_kind["exact_duplicate"]:
        copy, original = (herbarium.photos / fault[key] for key in ("path", "of"))
        assert copy.read_bytes() == original.read_bytes()
        same_folder = copy.parent == original.parent
        assert same_folder == (fault["how"] == "same_label") == ("true" not in fault)
    assert {f["how"] for f in by_kind["exact_duplicate"]} == {"same_label", "other_label"}


def test_near_duplicates_differ_in_bytes_and_show_the_same_plant(drawn):
    herbarium, truth, by_kind = drawn
    for fault in by_kind["near_duplicate"]:
        copy, original = (herbarium.photos / fault[key] for key in ("path", "of"))
        assert copy.read_bytes() != original.read_bytes()
        assert truth["labels"][fault["path"]] == truth["labels"][fault["of"]]
        if "crop" not in fault["how"]:
            turned = [np.rot90(m, k) for m in (pixels(copy), pixels(copy)[:, ::-1]) for k in range(4)]
            assert min(np.abs(t - pixels(original)).mean() for t in turned) < 10
        else:
            kept = np.array(pixels(copy).shape[:2]) / pixels(original).shape[:2]
            assert ((kept > 0.72) & (kept < 0.95)).all()


def test_wrong_labels_lie_in_a_folder_that_is_not_their_species(drawn):
    _, truth, by_kind = drawn
    for fault in by_kind["wrong_label"]:
        assert fault["true"] == truth["labels"][fault["path"]] != fault["path"].split("/")[0]
    conflicts = {f["path"] for f in by_kind["wrong_label"] + by_kind["exact_duplicate"] if "true" in f}
    moved = {path for path, true in truth["labels"].items() if path.split("/")[0] != true}
    assert moved == conflicts


def test_odd_sizes_and_dark_pictures_are_odd_and_dark(drawn):
    herbarium, truth, by_kind = drawn
    assert all(pixels(herbarium.photos / f["path"]).shape[:2] != (48, 48) for f in by_kind["odd_size"])
    assert all(pixels(herbarium.photos / f["path"]).mean() < 20 for f in by_kind["over_dark"])
    special = {f["path"] for f in truth["faults"]}
    plain = [pixels(herbarium.photos / path) for path in truth["labels"] if path not in special]
    assert all(p.shape == (48, 48, 3) and p.mean() > 25 for p in plain)


def test_a_folder_that_holds_photos_already_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    draw_herbarium(tmp_path, **SMALL)  # empty is fine
    before = len(list(tmp_path.rglob("*")))
    with pytest.raises(OutputError, match="not empty"):
        draw_herbarium(tmp_path, **SMALL)
    assert len(list(tmp_path.rglob("*"))) == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"species": ("rosa",)}, "rosa"),
        ({"species": ()}, "none"),
        ({"species": (SPECIES[0], SPECIES[0])}, "distinct"),
        ({"num_pictures": 10}, "10 pictures"),
        ({"species": SPECIES[:1]}, "1 species"),
    ],
    ids=["unknown", "none", "twice", "too-few", "one-species"],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, settings, said):
    with pytest.raises(UsageError, match=said):
        draw_herbarium(tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_the_listener_hears_every_picture(tmp_path):
    heard = []
    draw_herbarium(tmp_path, **SMALL, listen=heard.append)
    assert heard[0] == StepStarted(step="herbarium", total=24)
    assert heard[1:-1] == [StepAdvanced(step="herbarium")] * 24
    assert isinstance(heard[-1], StepFinished)


def test_a_file_is_a_jpeg_of_moderate_size(drawn):
    herbarium, truth, _ = drawn
    data = (herbarium.photos / next(iter(truth["labels"]))).read_bytes()
    assert Image.open(io.BytesIO(data)).format == "JPEG"
