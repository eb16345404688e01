from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from budwood.evaluation.intervals import wilson
from budwood.evaluation.metrics import Estimate
from budwood.report import html, templating
from budwood.report.data import (
    Baseline,
    DatasetSummary,
    FindingGroup,
    ModelCard,
    Picture,
    ReportData,
    Result,
    SplitSummary,
)
from budwood.report.training_data import CacheRow, Curves, PlanRow, Saying, TrainingView

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></svg>{{ 7*7 }}",
    "javascript:alert(1)\udc80\x00\u202e",
)
VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADERS = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


@pytest.fixture(scope="module")
def page(make_report: Callable[..., ReportData]) -> str:
    return html.render(make_report())


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots out where a test is about the words: drawing is nearly all of a page's time."""
    for module in ("plots", "judging_plots", "why_view"):
        monkeypatch.setattr(f"budwood.report.{module}.to_svg", lambda figure, name, *, alt: "<svg></svg>")
    monkeypatch.setattr("budwood.report.html.training_curves", lambda phase, *, name, narrow=False: "<svg></svg>")


def test_equal_data_give_equal_pages(page: str, make_report: Callable[..., ReportData]) -> None:
    assert html.render(make_report()) == page


def test_headline_says_the_accuracy_in_plain_words(page: str) -> None:
    words = Page(page).words
    assert "90 of 100 new pictures like these would be named right (95 % interval 81–95)" in words
    assert "Measured once, on 72 test pictures" in words


def test_every_part_of_a_full_report_is_on_the_page(page: str) -> None:
    parsed = Page(page)
    for heading in (
        "The score",
        "The pictures",
        "What the audit found",
        "The split",
        "The training",
        "What is taken for what",
        "Class by class",
        "Can its certainty be believed?",
        "Why it answers so",
        "Worst mistakes",
        "How it was made",
        "The machine",
        "What to do next",
    ):
        assert heading in parsed.words
    for fact in (
        "acer_fictum is taken for quercus_ficta 2 of 12 times",
        "used to choose, so it is optimistic",
        "The shipped weights were trained on all parts afterwards",
        "showing 10 of 18",
        "43 pictures in 17 tied groups stayed together",
        "no preferred orientation",
        "16 epochs; the weights of epoch 9 and of epoch 16 were kept (ringed)",
        "2 of 17 blocks and the head: blocks.5.3 to blocks.6.0",
        "After epoch 9 the validation loss rose.",
        "12 epochs, 8 views. 2.3 times",
        "132 MB",
        "cached, 2,880 views",
        "budwood predict runs/latest/bundle new-photos/",
        "8 views of each picture against one: +1.4 points",
        "This test part has been looked at once, for this score.",
        "Fitted on the validation part (72 pictures)",
        "Several classes instead of one",
        "Curves of hits and false alarms",
        "How much probability the true class was denied",
        "it may read the background",
        "72 pictures of the validation part, upright",
        "Grad-CAM over 5 × 5 places",
    ):
        assert fact in parsed.words, fact


def test_page_loads_nothing_and_runs_nothing(page: str) -> None:
    parsed = Page(page)
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert not {tag for tag, _ in parsed.tags} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
    }
    for _, attributes in parsed.tags:
        for key in LOADERS & attributes.keys():
            assert attributes[key].startswith(("data:image/", "#"))
    for target in re.findall(r"url\(([^)]*)\)", page):
        assert target.startswith("#")


def test_policy_forbids_all_but_inline_styles_and_embedded_pictures(page: str) -> None:
    policy = [a["content"] for tag, a in Page(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]


def test_hostile_names_stay_text(make_report: Callable[..., ReportData], page: str) -> None:
    hostile = html.render(make_report(HOSTILE, title=HOSTILE[0]))
    parsed = Page(hostile)
    assert {tag for tag, _ in parsed.tags} <= {tag for tag, _ in Page(page).tags}
    assert not [key for _, attributes in parsed.tags for key in attributes if key.startswith("on")]
    assert HOSTILE[0] in parsed.text
    assert HOSTILE[1] in parsed.text
    assert "{{ 7*7 }}" in parsed.text
    assert hostile.encode("utf-8")
    assert not re.search("[\x00\u202e]", hostile)


def test_hostile_text_in_every_free_field_stays_text(make_report: Callable[..., ReportData]) -> None:
    bad = HOSTILE[1]
    data = make_report(pictures=False)
    assert data.dataset is not None
    assert data.split is not None
    data = replace(
        data,
        **{f.name: bad for f in fields(data) if f.type == "str"},
        warnings=(bad,) * 7,
        machine=((bad, bad),),
        dataset=replace(data.dataset, sizes=bad, ignored=(bad,), parts=(bad, bad, bad)),
        split=replace(data.split, sentence=bad, counts=((bad, 1),)),
        findings=(FindingGroup(check=bad, severity="error", evidence=bad, pictures=(Picture(path=bad, label=bad),)),),
        model=ModelCard(backbone=bad, input_size=1, num_parameters=1, size_reason=bad, weights_source=bad),
        training=hostile_training(data.training, bad),
    )
    parsed = Page(html.render(data))
    assert not [a for tag, a in parsed.tags if tag == "img" or "onerror" in a]
    assert parsed.text.count(bad) > 12


def hostile_training(view: TrainingView, bad: str) -> TrainingView:
    words = {f.name: bad for f in fields(PlanRow) if f.type == "str"}
    curves = next(phase for phase in view.phases if isinstance(phase, Curves))
    stages = tuple(replace(stage, title=bad) for stage in curves.stages)
    return TrainingView(
        plan=(PlanRow(**words, planned=view.plan[1].planned),),
        phases=(replace(curves, title=bad, note=bad, stages=stages),),
        says=(Saying(mark=bad, word=bad, text=bad),),
        caches=(CacheRow(stage=bad, kept=True, reason=bad),),
    )


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("left_out", [f.name for f in fields(TrainingView)])
def test_page_is_good_without_one_part_of_the_training(left_out: str, make_report: Callable[..., ReportData]) -> None:
    data = make_report(pictures=False)
    page = html.render(replace(data, training=replace(data.training, **{left_out: ()})))
    heading = {"plan": "The plan", "says": "What the training says", "caches": "What was kept"}.get(left_out)
    assert "None" not in Page(page).words
    assert heading is None or heading not in Page(page).words


def test_title_alone_makes_a_page() -> None:
    parsed = Page(html.render(ReportData(title="empty")))
    assert "empty" in parsed.words
    assert "No test part was scored" in parsed.words
    assert "<svg" not in parsed.text


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("left_out", [f.name for f in fields(ReportData) if f.name != "title"])
def test_page_is_good_without_one_of_its_parts(left_out: str, make_report: Callable[..., ReportData]) -> None:
    nothing = getattr(ReportData(title=""), left_out)
    parsed = Page(html.render(replace(make_report(("a", "b"), pictures=False), **{left_out: nothing})))
    assert "None" not in parsed.words


def test_empty_parts_inside_of_parts_make_a_page(make_report: Callable[..., ReportData]) -> None:
    result = make_report(pictures=False).result
    assert result is not None
    data = ReportData(
        title="bare",
        dataset=DatasetSummary(num_pictures=0, classes=()),
        split=SplitSummary(counts=()),
        findings=(FindingGroup(check="x", severity="info", evidence="y"),),
        result=Result(metrics=result.metrics),
        model=ModelCard(backbone="b", input_size=32, num_parameters=0),
    )
    assert "0 pictures in 0 classes" in Page(html.render(data)).words


def test_pictures_are_embedded_only_when_they_are_pictures(page: str) -> None:
    assert (templating.data_uri(b"\xff\xd8\xff\xe0") or "").startswith("data:image/jpeg;base64,")
    assert (templating.data_uri(b"RIFF\0\0\0\0WEBPVP8 ") or "").startswith("data:image/webp;base64,")
    assert templating.data_uri(b"<svg onload='alert(1)'/>") is None
    assert templating.data_uri(b"") is None
    assert templating.data_uri(None) is None
    sources = [a["src"] for tag, a in Page(page).tags if tag == "img"]
    assert len(sources) > 50
    assert all(base64.b64decode(source.partition(",")[2], validate=True)[:3] == b"\xff\xd8\xff" for source in sources)


def test_every_picture_and_plot_has_words_for_it(page: str) -> None:
    tags = Page(page).tags
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    assert all(attributes["aria-label"] for tag, attributes in tags if tag == "svg")


def test_page_of_480_pictures_is_below_3_megabytes(page: str) -> None:
    assert len(page.encode()) < 3_000_000


@pytest.mark.usefixtures("no_drawing")
def test_long_lists_are_folded(make_report: Callable[..., ReportData]) -> None:
    classes = tuple(f"class_{k}" for k in range(50))
    words = Page(html.render(make_report(classes, pictures=False))).words
    assert "35 more classes" in words
    assert "38 more classes" in words


@pytest.mark.usefixtures("no_drawing")
def test_perfect_score_is_not_promised_for_new_pictures(make_report: Callable[..., ReportData]) -> None:
    data = make_report(("healthy", "sick"), pictures=False)
    assert data.result is not None
    assert data.result.metrics.accuracy.value == 1
    words = Page(html.render(data)).words
    assert "All 24 test pictures were named right: of 100 new ones like these, at least 86 should be" in words
    assert "100 of 100" not in words


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [
        (12, "The whole interval lies above that"),
        (62, "cannot show that the model is better"),
        (70, "no better than that"),
    ],
)
def test_verdict_says_no_more_than_the_interval_carries(
    baseline: int, verdict: str, make_report: Callable[..., ReportData]
) -> None:
    data = make_report(pictures=False)
    assert data.result is not None
    line = Baseline(name="majority", accuracy=Estimate(value=baseline / 72, interval=wilson(baseline, 72)))
    words = Page(html.render(replace(data, result=replace(data.result, baselines=(line,))))).words
    assert verdict in words


@pytest.mark.parametrize(
    ("value", "text"), [(0.8917, "89"), (1.0, "100"), (0.9996, "99.9"), (0.0, "0"), (0.0004, "0.1")]
)
def test_hundredths_are_never_rounded_to_certainty(value: float, text: str) -> None:
    assert templating.of_hundred(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (47.3, "47 s"), (75.2, "1 min 15 s"), (7260, "2 h 1 min")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert templating.duration(seconds).replace("\u00a0", " ") == text
