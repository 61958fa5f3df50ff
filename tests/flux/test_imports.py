"""Who imports whom at run time within the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flux

PACKAGE = Path(flux.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported_by(path: Path) -> set[str]:
    """The package's modules that a module loads; what is imported for types only is not loaded."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
    return found & set(MODULES)


def test_modules_load_each_other_in_one_direction() -> None:
    graph = {name: imported_by(path) for name, path in MODULES.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("flux.packet") < order.index("flux.core.link") < order.index("flux.core.handle")


def test_a_part_of_the_package_does_not_load_the_rest() -> None:
    text = "import sys, flux.session; print(sorted(name for name in sys.modules if name.startswith('flux.')))"
    loaded = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True).stdout
    assert "flux.packet" in loaded
    assert "flux.core" not in loaded


@pytest.mark.parametrize("name", flux.__all__)
def test_each_name_of_the_package_is_there_when_it_is_asked_for(name: str) -> None:
    text = f"import flux; assert {name!r} in dir(flux); print(flux.{name}.__name__)"
    told = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True).stdout
    assert told.strip() in (name, f"flux.{name}")


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flux' has no attribute 'Flax'"):
        flux.Flax  # type: ignore[attr-defined]  # noqa: B018 asking for it is the test


def test_nothing_is_imported_inside_functions() -> None:
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        late = [
            node.lineno
            for function in ast.walk(tree)
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
            for node in ast.walk(function)
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        assert not late, f"{name}:{late}"
