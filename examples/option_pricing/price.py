# SPDX-License-Identifier: Apache-2.0
"""Prices options by simulation, each until it is precise enough. Run: python examples/option_pricing/price.py.

What is drawn next depends on what has come back: `Session.map` takes its inputs as it goes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from asian import Draw, Option, Sums

import flamepy

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("pricing_service.py").resolve()
BOOK = [Option(strike, months) for months in (3, 12) for strike in (90.0, 100.0, 110.0)]
PATHS = 1000  # of a task: a few milliseconds, much longer than its way
IN_FLIGHT = 16  # enough for some executors, and few enough that what comes back still changes what is drawn


@contextlib.contextmanager
def open_session(executors: int) -> Iterator[flamepy.Session]:
    """A session of the pricing service; session and application are gone afterwards."""
    application = f"option-pricing-{os.getpid()}"
    flamepy.register_application(application, {"command": sys.executable, "arguments": [str(SERVICE)]})
    try:
        session = flamepy.create_session(application, max_instances=executors)
        try:
            yield session
        finally:
            session.close()
    finally:
        flamepy.unregister_application(application)


def report(done: int, submitted: int) -> None:
    """Progress, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done * PATHS:,} of {submitted * PATHS:,} paths", end="", file=sys.stderr)


def price(session: flamepy.Session, error: float) -> list[Sums]:
    """The book's prices, each with at most this standard error."""
    prices = [Sums() for _ in BOOK]
    drawn: list[int] = []

    def draws() -> Iterator[bytes]:
        """Each option that is not precise yet in turn; the number of the task is its seed."""
        while any(one.error > error for one in prices):
            for number, option in enumerate(BOOK):
                if prices[number].error > error:
                    drawn.append(number)
                    yield msgspec.json.encode(Draw(option, PATHS, seed=len(drawn)))

    for index, output in session.map(draws(), ordered=False, in_flight=IN_FLIGHT, progress=report):
        prices[drawn[index]] += msgspec.json.decode(output or b"", type=Sums)
    return prices


def main() -> None:
    """Price the book and print it."""
    parser = argparse.ArgumentParser(description="Price Asian options by simulation.")
    parser.add_argument("--error", type=float, default=0.03, help="the standard error that is small enough")
    options = parser.parse_args()
    with open_session(len(os.sched_getaffinity(0))) as session:
        prices = price(session, options.error)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print("months  strike    price   error    paths")
    for option, one in zip(BOOK, prices, strict=True):
        print(f"{option.months:6}  {option.strike:6.0f}  {one.mean:7.3f}  {one.error:6.3f}  {one.paths:7,}")


if __name__ == "__main__":
    main()
