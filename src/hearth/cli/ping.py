# SPDX-License-Identifier: Apache-2.0
"""`hearth ping`: the client of the built-in application flmping."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from flamepy.core.types import FlameError, FlameErrorCode, ResourceRequirement, SessionAttributes
from flamepy.protocol import MAX_COUNT
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.output import Column, one_line, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from flamepy.core.client import Connection
    from flamepy.core.session import Session

__all__ = ["ping"]

_COLUMNS = [Column("Session"), Column("Task", is_number=True), Column("State"), Column("Output")]


class _Run(NamedTuple):
    """What became of the tasks, in the order of their ids. Times are in seconds."""

    session_id: str
    creation_s: float
    duration_s: float
    outcomes: list[bytes | FlameError | None]

    @property
    def failures(self) -> list[tuple[int, FlameError]]:
        """Task ids and why."""
        # Ours is the only client of the session, so its tasks are numbered from 1 in the order of submission.
        numbered = enumerate(self.outcomes, start=1)
        return [(task, outcome) for task, outcome in numbered if isinstance(outcome, FlameError)]

    @property
    def throughput(self) -> float:
        """Tasks a second, from the first submission to the last result."""
        return len(self.outcomes) / self.duration_s


def _read_resreq(ctx: click.Context, parameter: click.Parameter, text: str | None) -> ResourceRequirement | None:
    try:
        return None if text is None else ResourceRequirement.from_string(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog="Example: hearth ping --tasks 100000 --performance")
@click.option("-t", "--tasks", type=click.IntRange(min=1), default=10, show_default=True, help="How many tasks to run.")
@click.option("-d", "--duration", type=click.IntRange(min=0), metavar="MS", help="Milliseconds that each task sleeps.")
@click.option("-m", "--memory", type=click.IntRange(min=0), metavar="BYTES", help="Bytes that each task allocates.")
@click.option("-r", "--resreq", callback=_read_resreq, metavar="TEXT", help="An instance's needs: cpu=1,mem=1g,gpu=0.")
@click.option(
    "-P",
    "--priority",
    type=click.IntRange(min=0, max=MAX_COUNT),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the session; higher ones are served first.",
)
@click.option("-p", "--performance", is_flag=True, help="Tell the throughput instead of each task.")
@uri_option
@json_option
def ping(
    tasks: int,
    duration: int | None,
    memory: int | None,
    resreq: ResourceRequirement | None,
    priority: int,
    performance: bool,
    uri: str | None,
    as_json: bool,
) -> None:
    """Run flmping tasks and tell how long they took.

    Where no instance is running a private one is started, and ended afterwards. Fails if a task fails.
    """
    attributes = SessionAttributes("flmping", resreq=resreq, priority=priority)
    with (
        open_connection(uri, may_embed=True) as connection,
        _open_session(connection, attributes) as (session, creation_s),
    ):
        if not performance and not as_json:
            click.echo(
                f"Session <{session.id}> was created in <{creation_s * 1000:.0f} ms>,"
                f" start to run <{tasks}> tasks in the session:\n"
            )
        outcomes, duration_s = _run_tasks(session, _input_of(duration, memory), tasks)
    run = _Run(session.id, creation_s, duration_s, outcomes)
    report = _report_json if as_json else _report_performance if performance else _report_tasks
    report(run)
    if run.failures:
        task, error = run.failures[0]
        raise click.ClickException(
            f"{len(run.failures)} of {tasks} tasks did not succeed; task {task}: {error.message}"
        )


# -- running


@contextlib.contextmanager
def _open_session(connection: Connection, attributes: SessionAttributes) -> Iterator[tuple[Session, float]]:
    """A new session, closed at the end, and the seconds that it took to make."""
    started = time.perf_counter()
    session = connection.create_session(attributes)
    creation_s = time.perf_counter() - started
    for event in session.events:  # such as that no instance of it will ever fit
        click.echo(event.message, err=True)
    try:
        yield session, creation_s
    finally:
        try:
            session.close()
        except FlameError as error:
            # After an interrupt tasks may be running; a lost connection is already being reported.
            if error.code is FlameErrorCode.INVALID_STATE:
                click.echo(f"Session <{session.id}> was not closed: {error.message}", err=True)


def _input_of(duration_ms: int | None, memory_bytes: int | None) -> bytes:
    if duration_ms is None and memory_bytes is None:
        return b""
    return msgspec.json.encode({"duration": duration_ms, "memory": memory_bytes})


def _run_tasks(session: Session, data: bytes, tasks: int) -> tuple[list[bytes | FlameError | None], float]:
    """The outcome of each task, and the seconds from the first submission to the last result."""
    started = time.perf_counter()
    futures = [session.run(data) for _ in range(tasks)]
    outcomes = [_outcome_of(future) for future in _with_progress(futures)]
    return outcomes, time.perf_counter() - started


def _outcome_of(future: Future[bytes | None]) -> bytes | FlameError | None:
    try:
        return future.result()
    except FlameError as error:
        return error


def _with_progress(futures: list[Future[bytes | None]]) -> Iterable[Future[bytes | None]]:
    """The futures; on a terminal a bar on stderr follows how many have been taken."""
    if not sys.stderr.isatty():
        return futures
    from rich.console import Console  # 80 ms that only a terminal pays
    from rich.progress import track

    return track(futures, "Running tasks", console=Console(stderr=True), transient=True)


# -- telling


def _report_tasks(run: _Run) -> None:
    rows = ((run.session_id, str(task), *_row_of(outcome)) for task, outcome in enumerate(run.outcomes, start=1))
    print_table(_COLUMNS, rows)
    click.echo(f"\n<{len(run.outcomes)}> tasks was completed in <{run.duration_s * 1000:.0f} ms>.")


def _row_of(outcome: bytes | FlameError | None) -> tuple[str, str]:
    if isinstance(outcome, FlameError):
        return "Cancelled" if outcome.code is FlameErrorCode.INVALID_STATE else "Failed", outcome.message
    return "Succeed", one_line(_message_of(outcome))


class _Answer(msgspec.Struct):
    """What flmping answers."""

    message: str


def _message_of(output: bytes | None) -> str | bytes | None:
    """The text in flmping's answer; the output itself if somebody registered another flmping."""
    try:
        return msgspec.json.decode(output or b"", type=_Answer).message
    except msgspec.DecodeError:
        return output


def _report_performance(run: _Run) -> None:
    tasks, failed = len(run.outcomes), len(run.failures)
    click.echo(
        "BENCHMARK RESULTS\n"
        f"  Duration:   {run.duration_s:.3f} s\n"
        f"  Succeeded:  {tasks - failed}/{tasks}\n"
        f"  Failed:     {failed}\n"
        f"  Throughput: {run.throughput:.1f} tasks/sec"
    )


def _report_json(run: _Run) -> None:
    tasks, failed = len(run.outcomes), len(run.failures)
    print_json(
        {
            "session_id": run.session_id,
            "tasks": tasks,
            "succeeded": tasks - failed,
            "failed": failed,
            "session_creation_s": run.creation_s,
            "duration_s": run.duration_s,
            "tasks_per_second": run.throughput,
        }
    )
