"""What the source must keep true and no other tool looks at: who imports whom, who does I/O, what is declared."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import flamepy

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
FILES = sorted(SOURCE.rglob("*.py"))

MAY_IMPORT = {
    "flux": {"flux", "msgspec"},
    "flamepy": {"flamepy", "flux", "msgspec", "yaml", "cloudpickle"},
    "hearth": {"hearth", "flamepy", "flux", "msgspec", "yaml", "click", "psutil", "rich", "uvloop"},
}
"""Besides the standard library. A client never loads the daemon, and the message plane loads neither."""

OF_EXTRAS = {"wasmtime": "hearth/wasm/"}
"""Packages of the extras, each with the only folder that imports it: all else works without."""

FOR_TYPES = {"typing_extensions"}
"""Below `if TYPE_CHECKING` only: no dependency."""

IMPORT_NAMES = {"PyYAML": "yaml"}

PURE = [
    "flux/packet.py",
    "flux/matchtags.py",
    "flux/session.py",
    "flux/impersonation.py",
    "flux/restoring.py",
    "flux/results.py",
    "flux/aio/forms.py",
    "flamepy/core/submissions.py",
    *sorted(str(path.relative_to(SOURCE)) for path in (SOURCE / "hearth/engine").rglob("*.py")),
    "hearth/cluster_configuration.py",
    "hearth/broker/router.py",
    "hearth/broker/passage.py",
    "hearth/broker/holds.py",
    "hearth/broker/asked.py",
    "hearth/broker/subscriptions.py",
    "hearth/broker/credentials.py",
    "hearth/broker/attributes.py",
    "hearth/broker/payloads.py",
    "hearth/broker/streams.py",
    "hearth/broker/log_ring.py",
    "hearth/broker/state_machine.py",
    "hearth/broker/shutdown.py",
    "hearth/broker/resource.py",
    *(f"hearth/kvs/{name}.py" for name in ("keys", "objects", "dirents", "lookup", "commit", "namespaces", "watches")),
    "hearth/objects/index.py",
    "hearth/cli/round_trips.py",
    "hearth/wasm/binary.py",
    "hearth/wasm/adapter_memory.py",
    "hearth/wasm/adapter.py",
    "hearth/wasm/interface.py",
    "hearth/wasm/calls.py",
]
"""Deterministic, and testable without a socket or a second of waiting."""

FORBIDDEN_TO_PURE = {
    **dict.fromkeys(["socket", "ssl", "select", "selectors", "socketserver"], "moves bytes: a shell does that"),
    **dict.fromkeys(["asyncio", "threading", "concurrent", "queue", "contextvars"], "decides when things run"),
    **dict.fromkeys(["time", "sched", "datetime"], "reads a clock: now is an argument"),
    **dict.fromkeys(["subprocess", "multiprocessing", "signal"], "starts or ends processes"),
    **dict.fromkeys(["random", "secrets", "uuid"], "is different every time"),
    **dict.fromkeys(["io", "pathlib", "shutil", "tempfile", "sqlite3", "mmap"], "touches files"),
    **dict.fromkeys(["logging", "warnings"], "tells people: errors and actions are returned"),
    **dict.fromkeys(["pickle", "cloudpickle", "marshal"], "the daemon never unpickles"),
}
PURE_OS_NAMES = {"strerror", "path"}
"""All that a pure module may use of `os`, and of os.path only what looks at the text of a path."""
PURE_PATH_NAMES = {"isabs", "join", "basename", "dirname"}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}

ENGINE_MAY_IMPORT = {"hearth.engine", "flamepy.core.types", "flamepy.protocol"}


class Import(NamedTuple):
    """One imported module, by its full name."""

    name: str
    line: int
    at_runtime: bool
    """False below `if TYPE_CHECKING`."""


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def type_checking_lines(tree: ast.Module) -> set[int]:
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {line for block in blocks for node in block.body for line in range(node.lineno, (node.end_lineno or 0) + 1)}


@cache
def imports(path: Path) -> list[Import]:
    tree = parse(path)
    for_types = type_checking_lines(tree)
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            # `from hearth.engine import views` imports the module views, `from x.y import Name` only x.y
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [Import(name, node.lineno, node.lineno not in for_types) for name in names]
    return found


def top(module: str) -> str:
    return module.partition(".")[0]


def is_standard(module: str) -> bool:
    return top(module) in sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down_hearth_flamepy_flux(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(SOURCE).parts[0]]
    wrong = [
        f"{name_of(path)}:{imported.line}: {imported.name}"
        for imported in imports(path)
        if not is_standard(imported.name) and top(imported.name) not in allowed
        if not name_of(path).startswith(OF_EXTRAS.get(top(imported.name), "no folder"))
        if imported.at_runtime or top(imported.name) not in FOR_TYPES
    ]
    assert not wrong


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_io_and_read_no_clock(name: str) -> None:
    path = SOURCE / name
    wrong = [
        f"{name}:{imported.line}: {top(imported.name)} {FORBIDDEN_TO_PURE[top(imported.name)]}"
        for imported in imports(path)
        if imported.at_runtime and top(imported.name) in FORBIDDEN_TO_PURE
    ]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            wrong.append(f"{name}:{node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute):
            used = ast.unparse(node).split(".")
            if used[0] == "os" and (
                used[1] not in PURE_OS_NAMES or (used[1] == "path" and not set(used[2:]) <= PURE_PATH_NAMES)
            ):
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)} asks the operating system")
    assert not wrong


@pytest.mark.parametrize("name", [name for name in PURE if name.startswith("hearth/engine/")])
def test_the_engine_knows_neither_broker_nor_providers(name: str) -> None:
    wrong = [
        f"{name}:{imported.line}: {imported.name}"
        for imported in imports(SOURCE / name)
        if top(imported.name) in MAY_IMPORT
        and not any(imported.name.startswith(f"{allowed}.") for allowed in ENGINE_MAY_IMPORT)
    ]
    assert not wrong


UNPICKLING = {"pickle", "cloudpickle", "marshal", "shelve", "flamepy.core.values", "flamepy.core.objects"}


@pytest.mark.parametrize("path", sorted((SOURCE / "hearth").rglob("*.py")), ids=name_of)
def test_the_daemon_never_unpickles(path: Path) -> None:
    """What clients send stays opaque bytes; only processes of theirs open it, and the applications are such."""
    if path.is_relative_to(SOURCE / "hearth/apps"):
        return
    wrong = [
        f"{name_of(path)}:{imported.line}: {imported.name}"
        for imported in imports(path)
        if any(f"{imported.name}.".startswith(f"{name}.") for name in UNPICKLING)
    ]
    assert not wrong


def declared_names(opening: str, closing: str) -> set[str]:
    """The import names of what pyproject.toml asks for between two lines that look like these."""
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(rf"^{opening}$(.*?)^{closing}", project, re.MULTILINE | re.DOTALL)
    assert block is not None
    return {IMPORT_NAMES.get(name, name) for name in re.findall(r'"([A-Za-z][\w.-]*)(?=\[|>)', block[1])}


def test_declared_dependencies_are_what_the_source_imports() -> None:
    declared = declared_names(r"dependencies = \[", r"\]$")
    extras = declared_names(r"\[project.optional-dependencies\]", r"\[")
    imported = {top(imported.name) for path in FILES for imported in imports(path) if imported.at_runtime}
    third_party = {name for name in imported if not is_standard(name)} - set(MAY_IMPORT)
    assert declared == third_party - set(OF_EXTRAS)
    assert extras == set(OF_EXTRAS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parse(path)), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=name_of)
def test_every_folder_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()


def test_flamepy_has_the_version_of_the_sdk_that_it_replaces() -> None:
    assert flamepy.__version__ == "0.6.0"
