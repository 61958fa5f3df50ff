# SPDX-License-Identifier: Apache-2.0
"""What the documents promise is what the code does."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from hearth.engine.events import EventCode
from tests.hearth.cli.commands import all_commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
COMMAND_LINE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def served_topics() -> set[str]:
    """Every flame.* method that the parts of the service add."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/hearth/flame").glob("*.py"))
    methods = re.findall(r'(?:serve|serve_change|serve_submission|change|add_method)\(\s*"([a-z.]+)"', source)
    assert len(methods) > 15, "the pattern no longer finds the methods"
    return {f"flame.{method}" for method in methods} | {"flame.ping"}


def test_every_topic_of_the_engine_is_documented_and_nothing_else() -> None:
    assert set(re.findall(r"`(flame\.[a-z.]+)`", PROTOCOL)) == served_topics()


def test_every_topic_of_the_key_value_store_is_documented_and_nothing_else() -> None:
    served: set[str] = set()
    for service, name in (("kvs", "service"), ("kvs-watch", "watch_service")):
        source = (ROOT / f"src/hearth/kvs/{name}.py").read_text(encoding="utf-8")
        served |= {f"{service}.{method}" for method in re.findall(r'add_method\("([a-z-]+)"', source)}
    served -= {"kvs.disconnect", "kvs-watch.disconnect"}
    assert set(re.findall(r"^\| `(kvs(?:-watch)?\.[a-z-]+)`", PROTOCOL, re.M)) == served


def test_every_event_code_is_documented() -> None:
    section = PROTOCOL.split("## Event codes")[1].split("## ")[0]
    documented = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", section, re.M) for code in cell.split(",")}
    assert documented == set(EventCode)


def test_every_command_is_documented_with_its_own_words_and_example() -> None:
    rows = re.findall(r"^\| `hearth ([^`]+)` \| (.*?) \| `(.*)` \|$", COMMAND_LINE, re.M)
    commands = all_commands()
    assert {name: text for name, text, _ in rows} == {
        name: text for name, text in commands.items() if not any(other.startswith(f"{name} ") for other in commands)
    }
    for name, _, example in rows:
        assert example.startswith(f"hearth {name}")


def variables_read() -> set[str]:
    """The names of environment variables in the source: what looks like ours, and what os.environ is asked for."""
    ours = re.compile(r"_?(FLAME|FLUX|HEARTH|XDG)_[A-Z_]*[A-Z]")
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= {
            node.value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ours.fullmatch(node.value)
        }
        found |= set(re.findall(r"""os\.environ(?:\.get\(|\[)["'](\w+)["']""", source))
    assert len(found) > 15, "the patterns no longer find the variables"
    return found - {"FLUX_FIRST"}  # an order of them


def test_every_environment_variable_is_documented_on_one_page_and_nothing_else() -> None:
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*) \|", page, re.M)
    documented = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    read = variables_read()
    assert read - documented == set()
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert {name for name in documented - read if f'"{name}"' not in source} == set()


README_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)


def output_of(program: str, folder: Path) -> str:
    """What a program prints in a folder of somebody who has configured nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "FLUX_"))}
    environment |= {"HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return ran.stdout


def test_the_first_program_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    program, expected = (text for _, text in README_BLOCKS[:2])
    assert re.sub(r"on <[^>]*>", "on <laptop>", output_of(program, tmp_path)) == expected


def test_the_service_of_the_readme_answers_its_client(tmp_path: Path) -> None:
    _, service, client = [text for language, text in README_BLOCKS if language == "python"][:3]
    (tmp_path / "echo_service.py").write_text(service)
    assert output_of(client, tmp_path) == "b'7'\n"


def test_the_script_of_the_page_on_applications_prints_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)
    expected = program.split("# ")[1].splitlines()[0]
    assert output_of(program, tmp_path) == f"{expected}\n"


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert README.count("\n") <= 150


def test_relative_links_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
