# SPDX-License-Identifier: Apache-2.0
"""The examples and the benchmarks' help, run as a new user runs them: no configuration, nothing running."""

from __future__ import annotations

import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import flamepy
from flamepy.core.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CENSUS = ROOT / "examples" / "stdlib_census" / "client.py"
CONFIGURATION = ("FLAME_", "FLUX_", "XDG_RUNTIME_DIR")
DEADLINE_S = 50.0


@pytest.fixture
def newcomer() -> Iterator[dict[str, str]]:
    """The environment of somebody who has configured nothing. Checks at the end that nothing of theirs is left."""
    with tempfile.TemporaryDirectory(prefix="newcomer-") as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURATION)}
        yield {**environment, "HOME": home, "TMPDIR": home}
        _, left = psutil.wait_procs(processes_of(home), timeout=DEADLINE_S)
        assert left == []
        assert list(Path(home).iterdir()) == []


def processes_of(home: str) -> list[psutil.Process]:
    """All processes with that HOME: the program, the daemon it started, and the daemon's executors."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == home:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            pass  # somebody else's, or gone
    return found


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )


def rows_of(output: str) -> dict[str, str]:
    """First column to last one, of every table row printed."""
    rows = (line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│"))
    return {row[0].strip(): row[-1].strip() for row in rows}


def test_echo_answers_ten_tasks_in_order(newcomer: dict[str, str]) -> None:
    output = run(newcomer, ROOT / "examples" / "echo" / "echo.py").stdout
    assert output.splitlines() == [str(f"hello {number}".encode()) for number in range(10)]


def test_the_census_counts_the_standard_library(newcomer: dict[str, str]) -> None:
    done = run(newcomer, CENSUS, "--limit", "40")
    rows = rows_of(done.stdout)
    assert rows["files"] == "40"
    assert int(rows["sys"]) > 5
    assert rows["files that do not parse"] == "0"
    assert 1 <= int(rows["executors used"]) <= len(os.sched_getaffinity(0))
    assert float(rows["files/s"].replace(",", "")) > 0
    assert re.fullmatch(r"\d+\.\d\d x", rows["speedup"])


def test_the_census_shows_plain_progress_without_a_terminal(newcomer: dict[str, str]) -> None:
    progress = run(newcomer, CENSUS, "--limit", "8").stderr.splitlines()
    assert [line for line in progress if line.startswith("one task a file")] == [
        f"one task a file: {done} of 8" for done in (0, 2, 4, 6, 8)
    ]


def test_a_file_that_does_not_parse_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    (tmp_path / "good.py").write_text(
        "import os.path, sys\nfrom . import us\n\nclass C:\n    def f(self):\n        pass\n"
    )
    program = (
        "import sys, pathlib, msgspec, census\nfor path in sys.argv[1:]: print(census.census_of(pathlib.Path(path)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(CENSUS.parent)}
    done = run(environment, "-c", program, tmp_path / "bad.py", tmp_path / "good.py")
    bad, good = done.stdout.splitlines()
    assert "error='SyntaxError: " in bad
    assert "functions=1, classes=1" in good
    assert "longest=Function(lines=2, name='f'), imports=['os', 'sys'], error=None" in good


@pytest.fixture
def instance() -> Iterator[flamepy.Connection]:
    """An instance that somebody runs already."""
    embedded = Embedded()
    connection = flamepy.connect(embedded.uri)
    yield connection
    connection.close()
    embedded.stop()


def is_clean(instance: flamepy.Connection) -> bool:
    names = [application.name for application in instance.list_applications()]
    return instance.list_sessions() == [] and not any(name.startswith("stdlib-census") for name in names)


def test_the_census_leaves_nothing_on_an_instance_it_was_given(
    newcomer: dict[str, str], instance: flamepy.Connection
) -> None:
    run({**newcomer, "FLAME_ENDPOINT": instance.addr}, CENSUS, "--limit", "8")
    assert is_clean(instance)


def test_ctrl_c_ends_the_census_and_leaves_nothing_on_the_instance(
    newcomer: dict[str, str], instance: flamepy.Connection
) -> None:
    with subprocess.Popen(
        [sys.executable, CENSUS, "--limit", "200"],
        env={**newcomer, "FLAME_ENDPOINT": instance.addr},
        stderr=subprocess.PIPE,
        text=True,
    ) as census:
        assert census.stderr is not None
        while not census.stderr.readline().startswith("one task a file: 50"):
            assert census.poll() is None
        census.send_signal(signal.SIGINT)
        _, said = census.communicate(timeout=DEADLINE_S)
    assert census.returncode == 130
    assert "Traceback" not in said
    assert is_clean(instance)


def test_ctrl_c_ends_an_instance_of_its_own(newcomer: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, CENSUS], env=newcomer, stderr=subprocess.PIPE, text=True) as census:
        assert census.stderr is not None
        while not census.stderr.readline().startswith("in one process: 0"):
            assert census.poll() is None
        assert len(processes_of(newcomer["HOME"])) > 1
        census.send_signal(signal.SIGINT)
    assert census.returncode == 130


STOCK = ROOT / "examples" / "stock"
TAKEN = """\
answer: {'left': 2}
answer: {'left': 1}
answer: {'left': 0}
refused: 0 apples are left, not 1
event: stock.taken {'item': 'apples', 'left': 2}
event: stock.taken {'item': 'apples', 'left': 1}
event: stock.taken {'item': 'apples', 'left': 0}
item: {'item': 'apples', 'count': 0}
item: {'item': 'pears', 'count': 5}
"""


def test_the_stock_keeper_serves_its_client_until_ctrl_c(
    newcomer: dict[str, str], instance: flamepy.Connection
) -> None:
    environment = {**newcomer, "FLUX_URI": instance.addr}
    with subprocess.Popen(
        [sys.executable, STOCK / "stock_service.py"], env=environment, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "serving\n"
        assert run(environment, STOCK / "stock_client.py").stdout == TAKEN
        service.send_signal(signal.SIGINT)
    assert service.returncode == 0


PRICING = ROOT / "examples" / "option_pricing" / "price.py"


def geometric_asian_call(strike: float, months: int, spot: float, rate: float, volatility: float) -> float:
    """The same option on the geometric mean, which is always below the arithmetic one and has a formula."""
    years, step = months / 12, 1 / 12
    mean = math.log(spot) + (rate - volatility**2 / 2) * step * (months + 1) / 2
    variance = volatility**2 * step * (months + 1) * (2 * months + 1) / (6 * months)
    d1 = (mean - math.log(strike) + variance) / math.sqrt(variance)
    cdf = statistics.NormalDist().cdf
    d2 = d1 - math.sqrt(variance)
    return math.exp(-rate * years) * (math.exp(mean + variance / 2) * cdf(d1) - strike * cdf(d2))


def test_the_priced_options_cost_a_little_more_than_those_that_have_a_formula(newcomer: dict[str, str]) -> None:
    done = run(newcomer, PRICING, "--error", "0.06")
    assert done.stderr == ""
    rows = [line.replace(",", "").split() for line in done.stdout.splitlines()[1:]]
    assert len(rows) == 6
    for months, strike, price, error, paths in rows:
        bound = geometric_asian_call(float(strike), int(months), spot=100.0, rate=0.04, volatility=0.25)
        assert float(error) <= 0.06
        assert int(paths) >= 1000
        assert -5 * 0.06 < float(price) - bound < 0.5 + 5 * 0.06


BENCHMARKS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "ArgumentParser" in path.read_text()]


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda path: path.name)
def test_every_benchmark_explains_itself(benchmark: Path) -> None:
    shown = run(dict(os.environ), benchmark, "--help").stdout
    assert "usage: " in shown
    assert "?" in shown, "its question"
