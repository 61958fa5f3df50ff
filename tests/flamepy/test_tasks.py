"""Creating, looking at, listing and watching tasks; after §10.2 and §10.3."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, SessionState, TaskState
from flamepy.protocol import CancelTasks, TaskRef, Unwatch
from tests.conftest import DEADLINE_S, FAULT_S, act, expect_refusal, wait_until

if TYPE_CHECKING:
    from flux.packet import Packet
    from tests.conftest import Daemon, Gate, NewSession


def final_state(session: flamepy.Session, task: flamepy.Task) -> flamepy.Task:
    return list(session.watch_task(task.id, timeout=DEADLINE_S))[-1]


def codes(task: flamepy.Task) -> list[int]:
    return [event.code for event in task.events or ()]


def test_a_created_task_is_pending_and_numbered_from_one(session: flamepy.Session) -> None:
    made = [session.create_task(b"x") for _ in range(3)]
    assert [task.id for task in made] == ["1", "2", "3"]
    assert {(task.session_id, task.state, task.input, task.output) for task in made} == {
        (session.id, TaskState.PENDING, b"x", None)
    }
    for task in made:
        [event] = task.events or []
        assert (event.code, event.message) == (0, "Task was created with state <Pending>")
        assert event.creation_time == task.creation_time
    for task in made:
        final_state(session, task)


def test_a_task_ends_with_everything_about_it(session: flamepy.Session) -> None:
    made = session.create_task(b"in and out")
    final_state(session, made)
    task = session.get_task(made.id)
    assert (task.id, task.session_id, task.state) == (made.id, session.id, TaskState.SUCCEED)
    assert task.input == task.output == b"in and out"
    assert task.is_completed()
    assert task.completion_time is not None
    assert task.creation_time == made.creation_time <= task.completion_time
    assert codes(task) == [0, 1, 2]
    assert [event.message for event in task.events or ()] == [
        "Task was created with state <Pending>",
        "Task state was updated to <Running>",
        "Task was completed with state <Succeed>",
    ]


def test_a_running_task_is_running(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    now = session.get_task(task.id)
    assert (now.state, now.output, now.completion_time, codes(now)) == (TaskState.RUNNING, None, None, [0, 1])
    gate.open()
    assert final_state(session, task).output == b"through"


def test_watching_tells_the_states_in_order_up_to_the_final_one(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    watcher = session.watch_task(task.id, timeout=DEADLINE_S)
    assert next(watcher).state is TaskState.RUNNING
    gate.open()
    last = next(watcher)
    assert (last.state, last.output) == (TaskState.SUCCEED, b"through")
    assert list(watcher) == []


def test_watching_a_finished_task_yields_its_final_state_once(session: flamepy.Session) -> None:
    task = session.create_task(b"x")
    final_state(session, task)
    assert [update.state for update in session.watch_task(task.id, timeout=DEADLINE_S)] == [TaskState.SUCCEED]


def test_watching_a_task_that_fails_ends_with_failed(session: flamepy.Session) -> None:
    last = final_state(session, session.create_task(act("fail", "why")))
    assert last.state is TaskState.FAILED
    assert last.is_failed()
    assert 3 in codes(last)


def test_a_cancelled_task_is_told_to_its_watcher_and_shown(client: flamepy.Connection) -> None:
    client.register_application("never", {"shim": flamepy.Shim.WASM})
    session = client.create_session(SessionAttributes("never"))
    task = session.create_task(b"x")
    watcher = session.watch_task(task.id, timeout=DEADLINE_S)
    assert next(watcher).state is TaskState.PENDING
    session.close()
    last = list(watcher)[-1]
    assert (last.state, last.is_completed(), codes(last)) == (TaskState.CANCELLED, False, [0, 17])
    assert [listed.state for listed in session.list_tasks()] == [TaskState.CANCELLED]
    assert client.get_session(session.id).cancelled == 1
    client.unregister_application("never")


def test_a_timeout_interrupts_a_watcher_that_waits(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    watcher = session.watch_task(task.id, timeout=0.05)
    assert next(watcher).state is TaskState.RUNNING
    with pytest.raises(TimeoutError, match=r"task 1 of session .* has not ended within 0.05 s"):
        next(watcher)
    assert list(watcher) == []
    gate.open()
    assert final_state(session, task).state is TaskState.SUCCEED


class Recorder:
    """The errnos of the answers to a streaming request, 0 for those that are none."""

    def __init__(self) -> None:
        self.errnos: list[int] = []

    def on_response(self, response: Packet) -> None:
        self.errnos.append(response.aux1)

    def on_lost(self, error: OSError) -> None:
        self.errnos.append(error.errno or errno.EIO)


def test_the_instance_ends_a_watch_that_it_is_told_to_end(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    link, told = session.connection.link, Recorder()
    tag = link.open_stream("flame.task.watch", TaskRef(session.id, int(task.id)), told)
    wait_until(lambda: told.errnos == [0], "the first state is told")
    for matchtag in (tag + 1, tag, tag):  # nobody's, ours, and ours again
        link.ask("flame.task.unwatch", Unwatch(matchtag), type(None))
    assert told.errnos == [0, errno.ENODATA]
    gate.open()
    assert final_state(session, task).state is TaskState.SUCCEED
    assert told.errnos == [0, errno.ENODATA]


def test_nothing_is_told_behind_the_end_of_a_watch(client: flamepy.Connection) -> None:
    """Cancelled and unwatched in one batch, the task was still told to the stream that had ended."""
    client.register_application("idle", {"shim": flamepy.Shim.WASM})
    link = client.link
    with client.create_session(SessionAttributes("idle")) as session:
        for task in [session.create_task(b"x") for _ in range(50)]:
            told = Recorder()
            tag = link.open_stream("flame.task.watch", TaskRef(session.id, int(task.id)), told)
            wait_until(lambda told=told: told.errnos == [0], "the first state is told")  # type: ignore[misc]  # its own default
            requests = {
                "flame.task.cancel": CancelTasks(session.id, [int(task.id)]),
                "flame.task.unwatch": Unwatch(tag),
            }
            with link.lock:
                for topic, request in requests.items():
                    link.request(topic, msgspec.json.encode(request) + b"\0", None)
            assert session.get_task(task.id).is_cancelled()
            assert told.errnos == [0, errno.ENODATA]
        assert not link._session.inbox, "these answer nobody's request"
    client.unregister_application("idle")


def test_a_watcher_that_is_closed_tells_no_more(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    with session.watch_task(task.id) as watcher:
        assert next(watcher).state is TaskState.RUNNING
    watcher.close()
    gate.open()
    assert final_state(session, task).state is TaskState.SUCCEED
    assert list(watcher) == []


def test_closing_a_watcher_ends_the_wait_of_another_thread(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    watcher = session.watch_task(task.id)
    assert next(watcher).state is TaskState.RUNNING
    rest: list[flamepy.Task] = [task]
    waiting = threading.Thread(target=lambda: rest.extend(watcher))
    waiting.start()
    watcher.close()
    waiting.join(FAULT_S)
    assert not waiting.is_alive()
    assert rest == [task]


def test_three_watchers_of_one_task_all_see_its_end(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    watchers = [session.watch_task(task.id, timeout=DEADLINE_S) for _ in range(3)]
    gate.wait_until_reached()
    gate.open()
    assert {list(watcher)[-1].state for watcher in watchers} == {TaskState.SUCCEED}


def test_another_client_may_watch(shared_daemon: Daemon, session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    with contextlib.closing(shared_daemon.connect()) as other:
        watcher = other.get_session(session.id).watch_task(task.id, timeout=DEADLINE_S)
        gate.open()
        assert list(watcher)[-1].output == b"through"


def test_a_watcher_whose_client_left_harms_nobody(shared_daemon: Daemon, session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    with contextlib.closing(shared_daemon.connect()) as other:
        next(other.get_session(session.id).watch_task(task.id))
    gate.open()
    assert final_state(session, task).state is TaskState.SUCCEED


@pytest.mark.parametrize("task_id", ["0", "2", "-1", "999999999999", "9" * 40])
def test_an_unknown_task_is_not_found(session: flamepy.Session, task_id: str) -> None:
    session.invoke(b"the only one")
    with expect_refusal(FlameErrorCode.NOT_FOUND, f"task {task_id} not found", session.id):
        session.get_task(task_id)
    with expect_refusal(FlameErrorCode.NOT_FOUND, f"task {task_id} not found", session.id):
        next(session.watch_task(task_id, timeout=DEADLINE_S))


@pytest.mark.parametrize("task_id", ["", "one", "1.0", "0x1"])
def test_a_task_id_that_is_no_number_is_refused(session: flamepy.Session, task_id: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, f"task id {task_id!r} is not a number"):
        session.get_task(task_id)
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, f"task id {task_id!r} is not a number"):
        session.watch_task(task_id)


def test_nothing_is_found_in_a_session_that_is_gone(own_client: flamepy.Connection) -> None:
    session = own_client.create_session(SessionAttributes("actor"))
    session.close()
    own_client.unregister_application("actor")
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        session.get_task("1")
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        next(session.watch_task("1"))
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        next(session.list_tasks())
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        session.create_task(b"x")
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        session.close()


def test_tasks_are_listed_by_id_over_many_pages(new_session: NewSession) -> None:
    session = new_session()
    futures = [session.run(b"%d" % number) for number in range(1203)]
    for future in futures:
        future.result(DEADLINE_S)
    listed = list(session.list_tasks())
    assert [task.id for task in listed] == [str(number) for number in range(1, 1204)]
    assert all(task.input == task.output == b"%d" % number for number, task in enumerate(listed))
    assert {(task.session_id, task.state) for task in listed} == {(session.id, TaskState.SUCCEED)}


def test_a_session_without_tasks_lists_none(session: flamepy.Session) -> None:
    assert list(session.list_tasks()) == []


def test_large_tasks_are_listed(session: flamepy.Session) -> None:
    size = 4 << 20
    for _ in range(30):
        assert len(session.invoke(act("fill", size)) or b"") == size
    assert [len(task.output or b"") for task in session.list_tasks()] == [size] * 30


def test_counters_count_each_task_once(session: flamepy.Session) -> None:
    for number in range(5):
        if number % 2:
            with pytest.raises(flamepy.FlameError):
                session.invoke(act("fail", "odd"))
        else:
            session.invoke(b"even")
    now = session.connection.get_session(session.id)
    assert (now.pending, now.running, now.succeed, now.failed, now.cancelled) == (0, 0, 3, 2, 0)
    assert (session.succeed, session.failed) == (0, 0)  # a snapshot is never refreshed


def test_counters_are_right_as_soon_as_the_watcher_knows(session: flamepy.Session) -> None:
    for number in range(1, 30):
        final_state(session, session.create_task(b"x"))
        now = session.connection.get_session(session.id)
        assert (now.succeed, now.running, now.pending) == (number, 0, 0)


def test_counters_show_what_waits_and_what_runs(session: flamepy.Session, gate: Gate) -> None:
    futures = [session.run(gate.task), session.run(b"x"), session.run(b"y")]
    gate.wait_until_reached()
    now = session.connection.get_session(session.id)
    assert (now.pending, now.running) == (2, 1)
    gate.open()
    assert [future.result(DEADLINE_S) for future in futures] == [b"through", b"x", b"y"]


def test_a_session_closes_as_soon_as_the_watcher_knows(client: flamepy.Connection, new_session: NewSession) -> None:
    session = new_session()
    for _ in range(3):
        final_state(session, session.create_task(b"x"))
    session.close()
    assert client.get_session(session.id).state is SessionState.CLOSED


@pytest.mark.parametrize("wrong", [None, "text", bytearray(b"x"), memoryview(b"x"), 5])
def test_an_input_that_is_no_bytes_is_refused_at_once(session: flamepy.Session, wrong: bytes) -> None:
    for use in (session.create_task, session.run, session.invoke):
        with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "must be bytes, got", type(wrong).__name__):
            use(wrong)
    assert session.connection.get_session(session.id).pending == 0


def test_two_threads_that_create_tasks_get_all_ids_once(session: flamepy.Session) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.extend([session.create_task(b"x").id for _ in range(50)])) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, ids)) == list(range(1, 101))
    wait_until(lambda: session.connection.get_session(session.id).succeed == 100, "all of them are done")
