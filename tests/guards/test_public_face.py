"""The public names, what importing costs, and what no source file may hold."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import budwood

SOURCE = Path(budwood.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "pydantic", "numpy", "PIL", "timm", "sklearn", "matplotlib", "rich", "typer")


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_the_public_names_are_sorted_and_are_what_dir_offers() -> None:
    assert list(budwood.__all__) == sorted(budwood.__all__)
    assert len(set(budwood.__all__)) == len(budwood.__all__)
    assert sorted(dir(budwood)) == sorted([*budwood.__all__, "__version__"])


@pytest.mark.parametrize("name", budwood.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(importlib.import_module(budwood._HOMES[name]), name)
    assert value.__doc__
    assert budwood.__getattr__(name) is value


def test_the_lazy_names_and_those_for_type_checkers_are_the_same() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {alias.name: node.module for node in block.body for alias in node.names}
    assert homes == budwood._HOMES
    assert sorted(homes) == list(budwood.__all__)


def test_a_public_name_stays_what_it_is_once_everything_was_imported() -> None:
    for home in sorted(set(budwood._HOMES.values())):
        importlib.import_module(home)  # a module of a public name's own name would now stand in its place
    assert [name for name in budwood.__all__ if isinstance(getattr(budwood, name), ModuleType)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        budwood.nosuch  # noqa: B018


def test_importing_budwood_loads_nothing_heavy() -> None:
    loaded = in_a_new_process(f"import sys, budwood; print(*[m for m in {HEAVY} if m in sys.modules])")
    assert loaded == ""


def test_a_process_that_decodes_loads_no_numpy() -> None:
    """Each scan starts such processes anew."""
    assert in_a_new_process("import sys, budwood.data.worker; print('numpy' in sys.modules)") == "False"


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert budwood.__version__ == version("budwood")


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(SOURCE)) for f in FILES])
def test_every_source_file_says_what_it_is_and_stays_readable(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert ast.get_docstring(tree_of(file)) or not text.strip(), "a file with code has a module docstring"
    assert len(text.splitlines()) <= 400


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def called(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Every call, with what is called."""
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def calls_of(tree: ast.Module, dotted: str) -> list[ast.Call]:
    return [call for name, call in called(tree) if name == dotted]


def test_nothing_reads_pickles() -> None:
    for file in FILES:
        tree = tree_of(file)
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not names & {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}, file
        for call in calls_of(tree, "torch.load"):
            assert "weights_only=True" in ast.unparse(call), f"{file}:{call.lineno}"
        for call in calls_of(tree, "np.load"):
            assert "allow_pickle=True" not in ast.unparse(call), f"{file}:{call.lineno}"


def test_nothing_runs_text_as_code_or_a_shell() -> None:
    for file in FILES:
        tree = tree_of(file)
        for forbidden in ("eval", "exec", "os.system", "yaml.load", "torch.save"):
            assert calls_of(tree, forbidden) == [], f"{file}: {forbidden}"
