"""How a program is started is found out from its folder, or it is told why that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hearth.installers.failure import InstallFailed
from hearth.installers.start_command import find_start_command, installer_for

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = '[project]\nname = "my-app"\nversion = "1"\n'
TWO_SCRIPTS = '[project.scripts]\nalpha = "m:a"\nbeta = "m:b"\n'


def fill(folder: Path, pyproject: str | None, files: list[str]) -> None:
    if pyproject is not None:
        (folder / "pyproject.toml").write_text(pyproject)
    for name in files:
        path = folder / name.rstrip("!")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755 if name.endswith("!") else 0o644)


@pytest.mark.parametrize(
    ("pyproject", "files", "name", "command"),
    [
        (PROJECT + TWO_SCRIPTS, [], "beta", "beta"),
        (PROJECT + '[project.scripts]\nonly = "m:a"\n', ["x/__main__.py"], "other", "only"),
        (PROJECT, ["my_app/__main__.py", "tests/__main__.py"], "other", "python3 -m my_app"),
        (PROJECT, ["src/serve/__main__.py", "src/my_app/__main__.py"], "serve", "python3 -m serve"),
        (PROJECT, ["src/lone/__main__.py"], "other", "python3 -m lone"),
        (None, ["bin/app!", "bin/tool!"], "app", "app"),
        (None, ["bin/tool!", "bin/readme", "other!"], "app", "tool"),
        (None, ["bin/readme", "lone!"], "app", "lone"),
        (None, ["lone!", "data"], "app", "lone"),
    ],
)
def test_a_folder_tells_how_it_is_started(
    pyproject: str | None, files: list[str], name: str, command: str, tmp_path: Path
) -> None:
    fill(tmp_path, pyproject, files)
    start = find_start_command(tmp_path, name)
    assert " ".join([start.command, *start.arguments]) == command
    assert installer_for(tmp_path) == ("binary" if pyproject is None else "python")


@pytest.mark.parametrize(
    ("pyproject", "files", "why"),
    [
        (PROJECT + TWO_SCRIPTS, [], "of the scripts alpha, beta none is named 'app'"),
        (PROJECT, [], "neither scripts nor a module with a __main__.py"),
        (PROJECT, ["a/__main__.py", "b/__main__.py"], "of the modules a, b none is named 'app'"),
        (None, ["bin/a!", "bin/b!"], "of the programs a, b none is named 'app'"),
        (None, ["readme"], "there is no program in bin or at the top"),
        (None, [], "there is no program in bin or at the top"),
    ],
)
def test_a_folder_that_does_not_tell_is_told_with_the_option_to_say_it(
    pyproject: str | None, files: list[str], why: str, tmp_path: Path
) -> None:
    fill(tmp_path, pyproject, files)
    with pytest.raises(InstallFailed) as refused:
        find_start_command(tmp_path, "app")
    assert why in str(refused.value)
    assert str(refused.value).endswith("say it with --command")
