"""Measured values with their intervals as text, from the plain values of a run's metrics.json."""

from __future__ import annotations

from typing import Any


def estimate_text(value: dict[str, Any]) -> str:
    """``89.1 % (86.4 - 91.3)``."""
    return f"{100 * value['value']:.1f} % ({_span(value)})"


def percent_text(value: dict[str, Any]) -> str:
    """``89.1 (86.4 - 91.3)``, in percent."""
    return f"{100 * value['value']:.1f} ({_span(value)})"


def area_text(value: dict[str, Any]) -> str:
    """``0.712 (0.650 - 0.770)``."""
    return f"{value['value']:.3f} ({value['interval']['low']:.3f} - {value['interval']['high']:.3f})"


def points_text(value: dict[str, Any]) -> str:
    """``+1.2 (-0.4 to +2.8)``, a difference in points."""
    low, high = value["interval"]["low"], value["interval"]["high"]
    return f"{100 * value['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def area_change_text(change: dict[str, Any] | None) -> str:
    """``+0.112 (+0.050 to +0.170), better``; a dash where there is none."""
    if change is None:
        return "-"
    low, high = change["interval"]["low"], change["interval"]["high"]
    return f"{change['value']:+.3f} ({low:+.3f} to {high:+.3f}), {change['verdict']}"


def number_text(value: float | None) -> str:
    """``0.31``; a dash where there is none."""
    return "-" if value is None else f"{value:.2f}"


def _span(value: dict[str, Any]) -> str:
    return f"{100 * value['interval']['low']:.1f} - {100 * value['interval']['high']:.1f}"
