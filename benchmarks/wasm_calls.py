# SPDX-License-Identifier: Apache-2.0
"""What does a call of a component cost, and what would it cost without the adapter?

An echo component, built from text, is called in this process: through the adapter, and value by value as
wasmtime offers it. Then: a fresh instance, as after a trap, and loading the component with and without cache.
Run: python benchmarks/wasm_calls.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import bench

sys.path.append(str(Path(__file__).parents[1]))  # the components of the tests

from tests.hearth.wasm.components import actor, by_values

from flamepy.core.service import ApplicationContext, SessionContext
from hearth.wasm.interface import ENTER, INVOKE, context_of
from hearth.wasm.runtime import Runtime
from hearth.wasm.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.wasm.runtime import Live

SIZES = {"0 B": 0, "100 B": 100, "1 KiB": 1 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20}
SLOW = 64 << 10  # value by value from here on once a round: it takes seconds
SESSION = SessionContext(None, "benchmark", ApplicationContext("echo"))


class Options(argparse.Namespace):
    """The command line."""

    rounds: int
    json: Path


def timed_s(call: Callable[[], object], times: int) -> float:
    """Seconds of one call."""
    began = perf_counter()
    for _ in range(times):
        call()
    return (perf_counter() - began) / times


def echo_s(live: Live, size: int, times: int) -> float:
    """Seconds of one echo of random bytes."""
    data = os.urandom(size)
    context = context_of(SESSION, "1")
    assert live.call(INVOKE, context, b"e" + data) == data
    return timed_s(lambda: live.call(INVOKE, context, b"e" + data), times)


def enter_fresh(runtime: Runtime) -> Live:
    """An instance that has entered the session."""
    live = runtime.instantiate()
    live.call(ENTER, context_of(SESSION))
    return live


def load(source: str) -> Runtime:
    """Compile it, or find it in the cache."""
    return Runtime(source.encode(), Settings(), [])


def measure(rounds: int) -> list[bench.Figure]:
    """All figures, the cache being empty at first."""
    sources = {"adapter": actor(), "value by value": by_values(actor())}
    first_s = timed_s(lambda: load(sources["adapter"]).close(), 1)
    figures = [bench.figure("load, compiled", "ms", [first_s * 1e3])]
    cached = [timed_s(lambda: load(sources["adapter"]).close(), 1) * 1e3 for _ in range(rounds)]
    figures.append(bench.figure("load, from the cache", "ms", cached))
    for way, source in sources.items():
        runtime = load(source)
        live = enter_fresh(runtime)
        if runtime.is_quick:
            fresh = [timed_s(lambda: enter_fresh(runtime).close(), 20) * 1e6 for _ in range(rounds)]  # noqa: B023
            figures.append(bench.figure("fresh instance, entered", "µs", fresh))
        for name, size in SIZES.items():
            times = 1 if size >= SLOW and not runtime.is_quick else max(5, 2000 // (1 + size // 512))
            echoes = [echo_s(live, size, times) * 1e6 for _ in range(rounds)]
            figures.append(bench.figure(f"echo of {name}, {way}", "µs", echoes))
        runtime.close()
    return figures


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "wasm_calls.json")
    options = parser.parse_args(namespace=Options())
    assert __doc__ is not None
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, XDG_CACHE_HOME=f"{home}/cache")
        figures = measure(options.rounds)
    report = bench.Report(__doc__.splitlines()[0], bench.setting(rounds=options.rounds), figures)
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
