"""What instances print can be read by clients, while they run and when they have ended, and is bounded."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import flamepy
from flamepy import FlameErrorCode, InstanceLog
from tests.conftest import (
    FAULT_S,
    NOTHING,
    act,
    executors_of,
    expect_refusal,
    register_actor,
    wait_until,
)

if TYPE_CHECKING:
    from tests.conftest import Gate, NewSession

KEPT = 64 << 10


def only_log(session: flamepy.Session) -> InstanceLog:
    [log] = session.logs()
    return log


def wait_for_end(session: flamepy.Session) -> None:
    wait_until(lambda: not executors_of(session), "the executors have ended", FAULT_S)


def test_what_a_running_instance_has_printed_can_be_read(session: flamepy.Session) -> None:
    session.invoke(act("print", "to stdout", "to stderr"))
    wait_until(lambda: only_log(session).stdout and only_log(session).stderr, "the output has arrived", FAULT_S)
    log = only_log(session)
    assert (log.stdout, log.stderr) == (b"to stdout\n", b"to stderr")
    assert (log.is_running, log.is_truncated, log.completion_time) == (True, False, None)
    assert log.executor == executors_of(session)[0].executor
    assert abs(datetime.now(timezone.utc) - log.creation_time) < timedelta(minutes=1)


def test_what_an_ended_instance_had_printed_can_be_read(new_session: NewSession) -> None:
    session = new_session()
    session.invoke(act("print", "before", "the end"))
    session.close()
    wait_for_end(session)
    log = only_log(session)
    assert (log.stdout, log.stderr, log.is_running) == (b"before\n", b"the end", False)
    assert log.completion_time is not None
    assert log.completion_time >= log.creation_time


def test_a_killed_instance_has_lost_nothing_that_it_had_printed(session: flamepy.Session) -> None:
    session.invoke(act("print", "not flushed"))
    [executor] = executors_of(session)
    assert executor.pid is not None
    os.kill(executor.pid, signal.SIGKILL)
    wait_for_end(session)
    assert only_log(session).stdout == b"not flushed\n"


def test_nothing_that_is_printed_at_the_very_end_is_lost(session: flamepy.Session) -> None:
    last = "x" * 50_000
    with expect_refusal(FlameErrorCode.INTERNAL, "exited with status 3"):
        session.invoke(act("print_and_exit", last, 3), max_retries=0)
    assert only_log(session).stdout == last.encode() + b"\n"


def test_only_the_last_64_kib_of_a_stream_are_kept(session: flamepy.Session) -> None:
    session.invoke(act("print", "a" * 100_000 + "end", "short"))
    wait_until(lambda: only_log(session).stdout.endswith(b"end\n"), "all has arrived", FAULT_S)
    log = only_log(session)
    assert (len(log.stdout), log.is_truncated) == (KEPT, True)
    wait_until(lambda: only_log(session).stderr == b"short", "the other stream is whole", FAULT_S)


def test_each_instance_has_a_log_and_each_task_names_its_instance(new_session: NewSession, gate: Gate) -> None:
    session = new_session(instances=2)
    first = session.create_task(gate.task)
    assert first.executor is None
    gate.wait_until_reached()
    second = session.create_task(act("print", "second"))
    list(session.watch_task(second.id, FAULT_S))
    tasks = [session.get_task(task.id) for task in (first, second)]
    assert len({task.executor for task in tasks}) == 2
    assert [log.executor for log in session.logs()] == [task.executor for task in tasks]
    [log] = session.logs(task_id=second.id)
    assert log == session.logs(tasks[1].executor)[0]
    wait_until(lambda: session.logs(task_id=second.id)[0].stdout == b"second\n", "the output has arrived", FAULT_S)
    assert session.logs(task_id=first.id)[0].stdout == b""
    gate.open()
    list(session.watch_task(first.id, FAULT_S))
    assert [task.executor for task in session.list_tasks()] == [task.executor for task in tasks]


def test_a_task_that_no_instance_has_had_has_no_log(client: flamepy.Connection) -> None:
    too_much = flamepy.ResourceRequirement(cpu=1, memory=1 << 60)
    session = client.create_session(flamepy.SessionAttributes("actor", resreq=too_much))
    task = session.create_task(b"waits")
    assert session.logs(task_id=task.id) == []
    assert session.get_task(task.id).executor is None
    session.close()
    assert session.logs() == []


def test_unknown_executors_and_tasks_are_refused(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "nobody-7", session.id):
        session.logs("nobody-7")
    with expect_refusal(FlameErrorCode.NOT_FOUND, "task 7"):
        session.logs(task_id="7")
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "seven"):
        session.logs(task_id="seven")


def test_an_instance_that_did_not_come_up_has_a_log(client: flamepy.Connection) -> None:
    client.register_application(
        "grumbling", {"command": "sh", "arguments": ["-c", "echo why; echo because >&2; exit 3"]}
    )
    session = client.create_session(flamepy.SessionAttributes("grumbling", max_instances=1, resreq=NOTHING))
    with expect_refusal(FlameErrorCode.INTERNAL, "because"):
        session.run(b"x").result(FAULT_S)
    assert {(log.stdout, log.stderr) for log in session.logs()} == {(b"why\n", b"because\n")}
    assert len(session.logs()) == 5
    session.close()
    client.unregister_application("grumbling")


def test_logs_that_fill_more_than_one_answer_arrive_whole(session: flamepy.Session) -> None:
    for _ in range(70):
        with expect_refusal(FlameErrorCode.INTERNAL, "exited with status 3"):
            session.invoke(act("print_and_exit", "x" * KEPT, 3), max_retries=0)
    logs = session.logs()
    assert len({log.executor for log in logs}) == 70
    assert {len(log.stdout) for log in logs} == {KEPT}
    assert [log.creation_time for log in logs] == sorted(log.creation_time for log in logs)


def test_a_session_that_is_gone_takes_its_logs_along(own_client: flamepy.Connection) -> None:
    session = own_client.create_session(flamepy.SessionAttributes("actor", "again", max_instances=1, resreq=NOTHING))
    session.invoke(act("print", "of the first"))
    session.close()
    wait_for_end(session)
    own_client.unregister_application("actor")
    with expect_refusal(FlameErrorCode.NOT_FOUND, "again"):
        session.logs()
    register_actor(own_client)
    session = own_client.create_session(flamepy.SessionAttributes("actor", "again", max_instances=1, resreq=NOTHING))
    assert session.logs() == []
    session.close()


def test_an_application_may_have_its_output_buffered(client: flamepy.Connection) -> None:
    register_actor(client, "buffered", environments={"PYTHONUNBUFFERED": ""})
    session = client.create_session(flamepy.SessionAttributes("buffered", max_instances=1, resreq=NOTHING))
    session.invoke(act("print", "waits", "does not\n"))
    wait_until(lambda: only_log(session).stderr == b"does not\n", "stderr has arrived", FAULT_S)
    assert only_log(session).stdout == b""
    session.close()
    wait_for_end(session)
    assert only_log(session).stdout == b"waits\n"
    client.unregister_application("buffered")
