"""A real instance with the engine's part of a configuration."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

import flux
from tests.hearth.cli.commands import Running, environment, run

if TYPE_CHECKING:
    from pathlib import Path


def test_it_offers_the_capacity_that_is_configured_and_tells_of_keys_without_effect(folder: Path) -> None:
    env = environment(folder)
    configuration = folder / "flame-cluster.yaml"
    configuration.write_text("cluster:\n  name: mine\n  capacity: cpu=3,gpu=2\n  limits: {max_executors: 9}\n")
    with Running(env, "up", "--config", str(configuration)) as up:
        up.line()
        capacity = json.loads(run(env, "status", "--json").stdout)["capacity"]
        assert (capacity["cpu"], capacity["gpu"]) == (3, 2)
        assert json.loads(run(env, "config", "get", "cluster.limits", "--json").stdout) == {"max_executors": 9}
        up.process.terminate()
        assert up.process.stderr is not None
        assert f"these keys of {configuration} have no effect here: cluster.name" in up.process.stderr.read()


def test_a_mistake_is_told_with_file_and_key_and_nothing_starts(folder: Path) -> None:
    configuration = folder / "hearth.toml"
    configuration.write_text("[cluster]\nquantun = 1\n")
    up = run(environment(folder), "up", "--config", str(configuration))
    assert (up.returncode, up.stdout) == (1, "")
    assert up.stderr == f"Error: {configuration}: unknown key 'cluster.quantun', did you mean 'cluster.quantum'?\n"


def test_a_mistake_made_while_it_runs_is_told_on_reloading(folder: Path) -> None:
    env = environment(folder)
    configuration = folder / "hearth.toml"
    configuration.write_text("[cluster]\nquantum = 1\n")
    with Running(env, "up", "--config", str(configuration), stderr=subprocess.DEVNULL) as up:
        up.line()
        configuration.write_text("[cluster]\nquantum = 'long'\n")
        with flux.Flux(f"local://{folder}/hearth/local-0") as h:
            with pytest.raises(OSError, match=r"cluster\.quantum is 'long', want a number of seconds") as refused:
                h.rpc("config.reload").get()
            assert str(configuration) in str(refused.value)
            assert h.rpc("config.get").get()["cluster"] == {"quantum": 1}
