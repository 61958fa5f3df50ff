"""What must hold when a campaign is over: nothing lost, nothing doubled, nothing wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamepy import TaskState
from tests.faults.workload import Told, answer_to, name_of, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import flamepy

__all__ = ["Findings", "check"]

_SHOWN = 5


@dataclass(frozen=True)
class Findings:
    """How much was checked."""

    tasks: int
    answers: int
    acknowledged: int
    executed_again: int

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, {self.answers} answers, {self.acknowledged} acknowledged tasks,"
            f" {self.executed_again} executed more than once"
        )


def check(connection: flamepy.Connection, folder: Path, clients: Iterable[str]) -> Findings:
    """Compare journals, lists and notes. Raises AssertionError."""
    told = {client: read_journal(folder / f"{client}.journal") for client in clients}
    for client, journal in told.items():
        _check_journal(client, journal)
    listed: dict[str, flamepy.Task] = {}
    cancelled = set().union(*(journal.cancelled for journal in told.values()))
    for session in connection.list_sessions():
        listed |= _check_session(session, cancelled)
    for client, journal in told.items():
        _check_against_list(client, journal, listed)
    executions = Counter(line.split(" ")[0] for line in (folder / "notes").read_text().splitlines())
    _none(
        "succeeded but never executed",
        [n for n, t in listed.items() if t.state is TaskState.SUCCEED and not executions[n]],
    )
    return Findings(
        len(listed),
        sum(len(journal.got) for journal in told.values()),
        sum(len(journal.made) for journal in told.values()),
        sum(count > 1 for count in executions.values()),
    )


def _none(what: str, found: Iterable[object]) -> None:
    found = list(found)
    assert not found, f"{len(found)} {what}: {found[:_SHOWN]}"


def _check_journal(client: str, told: Told) -> None:
    """A client that was not killed has one answer to each of its tasks."""
    _none(f"wrong outcomes of {client}", told.bad)
    assert told.ended == [told.begun], f"{client} has begun {told.begun} times, and ended {told.ended}"
    _none(f"answers to {client} came twice", [name for name, count in told.got.items() if count > 1])
    last = {name for name in told.sent if _generation(name) == told.begun}
    _none(f"tasks of {client} were never answered", last - told.got.keys() - told.cancelled)
    _none(f"tasks of {client} were answered and cancelled", told.got.keys() & told.cancelled)


def _generation(name: str) -> int:
    return int(name.split(".")[1])


def _check_session(session: flamepy.Session, cancelled: set[str]) -> dict[str, flamepy.Task]:
    """Its tasks, by name."""
    tasks = list(session.list_tasks())
    assert [int(task.id) for task in tasks] == list(range(1, len(tasks) + 1)), f"ids of {session.id} are no row"
    states = Counter(task.state for task in tasks)
    counters = (session.succeed, session.cancelled, session.failed, session.pending, session.running)
    truth = (states[TaskState.SUCCEED], states[TaskState.CANCELLED], 0, 0, 0)
    assert counters == truth, f"{session.id}: succeed, cancelled, failed, pending, running are {counters}, not {truth}"
    named: dict[str, flamepy.Task] = {}
    for task in tasks:
        assert task.input is not None
        name = name_of(task.input)
        assert name not in named, f"{name} is listed twice: {named[name]!r:.300}, {task!r:.300}"
        named[name] = task
        if task.state is TaskState.SUCCEED:
            assert task.output == answer_to(task.input), f"{name} has a wrong output: {task!r:.300}"
        else:
            assert name in cancelled, f"{name} was cancelled by nobody: {task!r:.300}"
    _none(f"services of {session.id} told of bugs", [log for log in session.logs() if b"Traceback" in log.stderr])
    return named


def _check_against_list(client: str, told: Told, listed: dict[str, flamepy.Task]) -> None:
    _none(f"answered tasks of {client} are not listed", [name for name in told.got if name not in listed])
    for name, (session_id, task_id) in told.made.items():
        task = listed.get(name)
        assert task is not None, f"{name} was acknowledged as task {task_id} of {session_id}, and is lost"
        assert (task.session_id, task.id) == (session_id, task_id), (
            f"{name}: acknowledged as {task_id}, is {task!r:.300}"
        )
        assert task.state is TaskState.SUCCEED, f"{name} was acknowledged, and is {task!r:.300}"
