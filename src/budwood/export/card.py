"""The model card: ``README.md`` of a bundle, for whoever finds the folder and knows nothing else of it.

Plain Markdown from `BundleFacts` alone. Class names come from folders of anybody's naming, so they are shown as text.
"""

from __future__ import annotations

import re
from typing import Any

from budwood.data.split_nouns import PARTS
from budwood.evaluation.calibrate import Calibration
from budwood.export.bundle_facts import BundleFacts
from budwood.files import escape_name

CARD_NAME = "README.md"
_SHOWN_CLASSES = 200
_KINDS = {
    "network": "One network",
    "ensemble": "An ensemble: several networks that answer together",
    "cascade": "A cascade: networks that each decide a part of the question",
}


def model_card(facts: BundleFacts, *, num_golden: int) -> str:
    """The card's text."""
    sections = [
        _opening(facts),
        _scores(facts.metrics),
        _certainty(facts.calibration),
        _classes(facts),
        _use(facts),
        _limits(facts),
        _golden(num_golden),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _opening(facts: BundleFacts) -> str:
    recipe = facts.training.get("recipe")
    made = f", trained by the recipe {_text(recipe)}" if recipe else ""
    what = [f"- {_KINDS[facts.kind]}{made}."]
    if facts.spec and facts.preprocess:
        views = f"the mean over {len(facts.views)} views of a picture" if len(facts.views) > 1 else "one look"
        what.append(
            f"- Backbone {_text(facts.spec.backbone)}, input {facts.preprocess.size} x {facts.preprocess.size} pixels;"
            f" an answer is {views}."
        )
    if facts.members:
        what.append(f"- Members: {', '.join(_text(name) for name in facts.members)}.")
    counts = _counts(facts)
    if counts:
        what.append("- Pictures: " + ", ".join(f"{sum(n.values())} in {part}" for part, n in counts.items()) + ".")
    lines = "\n".join(what)
    return f"# A picture classifier for {len(facts.classes)} classes\n\n{lines}"


def _scores(metrics: dict[str, Any]) -> str:
    test = metrics.get("test")
    if not isinstance(test, dict):
        return "## Scores\n\nNone were kept with this bundle."
    rows = [
        f"| {name.replace('_', ' ')} | {test[name]['value']:.3f} | {test[name]['interval']['low']:.3f} -"
        f" {test[name]['interval']['high']:.3f} |"
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
        if name in test
    ]
    table = "\n".join(["| score | value | 95 % interval |", "|---|---|---|", *rows])
    note = f"\n\n{_text(metrics['note'])}" if metrics.get("note") else ""
    return (
        f"## Scores\n\nOn {test['num_pictures']} test pictures that took no part in training or in any choice:\n\n"
        f"{table}\n\nThe intervals speak of the luck in which pictures were tested, not of another camera, season or"
        f" place.{note}"
    )


def _certainty(known: Calibration | None) -> str:
    if known is None:
        return "## Certainty\n\nThe probabilities are the network's own; how far they can be believed was not measured."
    reached = "\n".join(f"- {str(t)[0].upper()}{str(t)[1:]}." for t in known.thresholds)
    return (
        f"## Certainty\n\nTemperature {known.temperature:.3g}, fitted on {_text(known.fitted_on)}"
        f" ({known.num_pictures} pictures). The probabilities that the bundle gives out are calibrated already."
        f"\n\n{reached}"
    )


def _classes(facts: BundleFacts) -> str:
    counts = _counts(facts)
    parts = list(counts)
    rows = [
        f"| {_text(name)} | " + " | ".join(str(counts[part].get(name, 0)) for part in parts) + (" |" if parts else "")
        for name in facts.classes[:_SHOWN_CLASSES]
    ]
    head = ["| class | " + " | ".join(parts) + (" |" if parts else ""), "|---|" + "---|" * len(parts)]
    more = len(facts.classes) - _SHOWN_CLASSES
    return "## Classes\n\n" + "\n".join([*head, *rows]) + (f"\n\nand {more} more." if more > 0 else "")


def _use(facts: BundleFacts) -> str:
    decide = "\ndecisions = bundle.decide(answers.probs, risk=0.05)" if facts.calibration else ""
    return (
        "## How to use it\n\n```bash\nbudwood predict THIS_FOLDER PICTURES --out answers.csv\n```\n\n```python\n"
        'import budwood\n\nbundle = budwood.load("THIS_FOLDER")\nanswers = bundle.predict(["one.jpg", "two.jpg"])'
        f"{decide}\n```"
    )


def _limits(facts: BundleFacts) -> str:
    return (
        "## Limits\n\n"
        f"- It knows these {len(facts.classes)} classes and no others: anything else gets one of them too.\n"
        "- Scores and thresholds hold for pictures taken like those it was made from.\n"
        "- What the training pictures show beside the subject (background, light, camera) may be what it goes by.\n"
        "- Do not let it decide alone where a mistake harms somebody."
    )


def _golden(num_golden: int) -> str:
    if not num_golden:
        return ""
    return (
        f"## Pictures in this folder\n\n`golden/` holds {num_golden} of the maker's own pictures, from the validation"
        " part, at most 256 pixels wide and high. Their rights are the maker's. Loading asks for one of them and"
        " refuses when the answer is not the one kept in `golden.json`. A run with `--set export.golden=0` leaves them"
        " out."
    )


def _counts(facts: BundleFacts) -> dict[str, dict[str, int]]:
    """Pictures by part and class, where the run noted them; train, val, test, in whatever order JSON has them."""
    counts = facts.training.get("pictures")
    return {part: counts[part] for part in PARTS if part in counts} if isinstance(counts, dict) else {}


def _text(value: object) -> str:
    """Any text as Markdown shows it letter by letter, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", escape_name(str(value).replace("\n", " "))[:200])
