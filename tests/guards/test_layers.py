"""Imports point down only, inside functions too; siblings do not import each other; there are no cycles."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import budwood

SOURCE = Path(budwood.__file__).parent
# From the bottom up. A module may import what stands in a lower line, and within its own folder; names in one line are
# siblings and do not import each other.
LAYERS = (
    ("errors",),
    ("events", "files", "seeding", "config", "machine", "stopping", "quiet"),
    ("cache", "workspace", "whole_folder"),
    ("data",),
    ("augment", "models", "evaluation", "herbarium"),
    ("test_lock",),
    ("train",),
    ("search", "report", "export"),
    ("recipes",),
    ("recipe",),
    ("runs",),
    ("opening",),
    ("describing", "members", "reference", "noting", "order"),
    ("page_source",),
    ("page_results",),
    ("page", "prepare", "where", "ensemble_report", "comparing"),
    ("allowed_views",),
    ("look", "shortening", "first_weights", "explaining", "doubting", "drifting"),
    ("frozen_phase", "explaining_pictures", "ensembling", "measuring", "material"),
    ("trained",),
    ("training",),
    ("training_record",),
    ("balance", "preview", "rates", "view_choice"),
    ("scoring",),
    ("bench", "bundling", "learning_curve"),
    ("sweep_plan",),
    ("sweep_result",),
    ("sweeping",),
    ("cleaning_gain", "leakage"),
    ("pipeline", "judge", "multiplication", "exporting"),
    ("answer_rows",),
    ("answers",),
    ("experiment", "member_training"),
    ("cascade", "one_class", "synthesis", "system_page"),
    ("systems",),
    ("estimator",),
    ("serve",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("budwood", *(part for part in parts if part != "__init__")))


MODULES = {module_name(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imported(file: Path, *, at_import_only: bool = False) -> set[str]:
    """The modules of budwood that a file imports, wherever in it; or only those that importing the file imports."""
    tree = tree_of(file)
    found: set[str] = set()
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in MODULES} or {node.module}
    return {name for name in found if name.startswith("budwood.")}


def layer(module: str) -> str:
    return module.split(".")[1]


def test_every_module_has_its_layer() -> None:
    assert len(FILES) > 60
    assert {layer(name) for name in MODULES} == set(LEVEL)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    above = {
        target
        for target in imported(MODULES[name])
        if layer(target) != layer(name) and LEVEL[layer(target)] >= LEVEL[layer(name)]
    }
    assert above == set()


def test_there_is_no_import_cycle() -> None:
    graph = {name: imported(file, at_import_only=True) & set(MODULES) - {name} for name, file in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_only_the_top_knows_recipes_and_runs() -> None:
    allowed = {
        "opening",
        "noting",
        "order",
        "material",
        "estimator",
        "describing",
        "members",
        "reference",
        "comparing",
        "ensembling",
        "ensemble_report",
        "explaining",
        "explaining_pictures",
        "doubting",
        "drifting",
        "view_choice",
        "bundling",
        "learning_curve",
        "experiment",
        "member_training",
        "system_page",
        "cascade",
        "one_class",
        "synthesis",
        "systems",
        "page",
        "page_source",
        "allowed_views",
        "prepare",
        "where",
        "preview",
        "rates",
        "look",
        "frozen_phase",
        "first_weights",
        "training",
        "training_record",
        "scoring",
        "balance",
        "cleaning_gain",
        "leakage",
        "bench",
        "sweep_plan",
        "sweep_result",
        "sweeping",
        "pipeline",
        "serve",
        "cli",
    }
    for name, file in MODULES.items():
        if imported(file) & {"budwood.recipe", "budwood.runs"}:
            assert layer(name) in allowed | {"recipe", "runs"}, name


def test_report_pages_are_made_without_torch() -> None:
    for folder in ("report", "evaluation", "data", "herbarium"):
        for file in sorted((SOURCE / folder).glob("*.py")):
            names = {
                n.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import) for n in node.names
            }
            assert "torch" not in names, file
