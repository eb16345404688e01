"""A sweep -> one self-contained HTML page: who came first, what that is worth, and what each setting did.

It judges nothing itself: `evaluation/rivals.py` did. Values and names come from recipes and folders and are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from budwood.evaluation.rivals import Judgement, Standing
from budwood.report import sweep_plots
from budwood.report.sweep_plots import Dot, KeyPlot
from budwood.report.templating import both, environment, printable, stylesheet

_SHOWN = 60  # arms in the table and the plot


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm: its settings as they are and as they are shown, how it stands (None: no answer, for ``reason``)."""

    number: int
    name: str
    settings: Mapping[str, Any]
    shown: Mapping[str, str]
    state: str
    reason: str
    seconds: float
    trainings: int
    standing: Standing | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """What the page shows. ``rows`` from the best to the worst, then those without an answer.

    logarithmic: keys that were searched in the logarithm. borders: for ``freeze``, what each depth begins to train.
    """

    title: str
    photos: str
    keys: tuple[str, ...]
    rows: tuple[ArmRow, ...]
    judgement: Judgement
    logarithmic: tuple[str, ...]
    borders: Mapping[str, str]
    command: str
    fit_command: str
    when: str
    version: str

    @property
    def winner(self) -> ArmRow:
        """The first."""
        return self.rows[0]

    @property
    def cheapest(self) -> ArmRow | None:
        """The arm that took least time among those that cannot be told from the winner; None where that is the winner.

        An arm that took nine tenths of the winner's time is not called cheaper: times vary by that.
        """
        equal = [row for row in self.rows[1:] if row.standing and _cannot_tell(row.standing)]
        least = min(equal, key=lambda row: row.seconds, default=None)
        return least if least and least.seconds < 0.9 * self.winner.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for results.json."""
        rows = [{**asdict(row), "settings": dict(row.settings), "standing": None} for row in self.rows]
        return {
            "recipe": self.title,
            "keys": list(self.keys),
            "winner": dict(self.winner.settings),
            "fit_command": self.fit_command,
            "judgement": self.judgement.to_dict(),
            "arms": [{name: value for name, value in row.items() if name not in ("standing", "shown")} for row in rows],
        }


def _cannot_tell(standing: Standing) -> bool:
    return standing.against is not None and standing.against.verdict == "cannot tell"


def render_sweep(view: SweepView) -> str:
    """The whole page as text, to be written as UTF-8. Equal arguments give equal text."""
    answered = [row for row in view.rows if row.standing]
    dots = [_dot(row) for row in answered]
    keys = [_key_plot(view, key, answered, number) for number, key in enumerate(view.keys)]
    page = (
        environment()
        .get_template("sweep.html.j2")
        .render(
            view=view,
            judgement=view.judgement,
            css=stylesheet("look.css", "report.css"),
            shown=view.rows[:_SHOWN],
            rivals=both(sweep_plots.rivals, (dots[:_SHOWN], view.judgement.corrected)),
            keys=[(plot, both(sweep_plots.key_plot, plot)) for plot in keys if len(plot.values) > 1],
            borders=view.borders if "freeze" in view.keys else {},
        )
    )
    return printable(page)


def _dot(row: ArmRow) -> Dot:
    standing = row.standing
    assert standing is not None
    interval = standing.accuracy.interval
    verdict = standing.against.verdict if standing.against else "winner"
    return Dot(name=row.name, value=standing.accuracy.value, low=interval.low, high=interval.high, verdict=verdict)


def _key_plot(view: SweepView, key: str, answered: Sequence[ArmRow], number: int) -> KeyPlot:
    """Every arm at its value of one key; the values in the order in which the arms were numbered."""
    rows = sorted(answered, key=lambda row: row.number)
    raw = [row.settings[key] for row in rows]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in raw) and key != "freeze"
    values = tuple(dict.fromkeys(row.shown[key] for row in rows))
    if key == "freeze":
        order = list(view.borders)
        values = tuple(sorted(values, key=lambda v: order.index(v) if v in order else len(order)))
    if numeric:
        values = tuple(dict.fromkeys(row.shown[key] for row in sorted(rows, key=lambda r: float(r.settings[key]))))
    return KeyPlot(
        key=key,
        number=number,
        values=values,
        at=tuple(float(value) for value in raw) if numeric else tuple(float(values.index(r.shown[key])) for r in rows),
        numeric=numeric,
        logarithmic=key in view.logarithmic or (numeric and _wide(raw)),
        dots=tuple(_dot(row) for row in rows),
        alone=len(view.keys) == 1,
        labels=tuple(_value_label(view, key, value) for value in values),
    )


def _value_label(view: SweepView, key: str, value: str) -> str:
    border = view.borders.get(value, "") if key == "freeze" else ""
    return f"{value}: from {border}" if border else value


def _wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= 20
