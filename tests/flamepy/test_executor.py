"""One executor against an instance played by the test, over a real socket."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

import flamepy
from flamepy.core.executor import Executor
from flamepy.protocol import AttachExecutor, CompletionBatch, ExecutorOrder, SessionContextInfo
from flux import packet as wire
from flux.packet import Decoder, Packet
from tests.conftest import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

ENODATA, ENOENT = 61, 2
STREAMING = 0x40
ENTER = SessionContextInfo("session-1", "app", None, "python3", None, None, b"common")


class Echo(flamepy.FlameService):
    """Answers with its input; at b"wait" only when told to go on."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_waiting = threading.Event()
        self.go_on = threading.Event()

    def on_session_enter(self, context: flamepy.SessionContext) -> None:
        self.told.append(f"enter {context.session_id}")
        if context.common_data() == b"refuse":
            raise ValueError("not this session")

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes | None:
        if context.input == b"wait":
            self.is_waiting.set()
            assert self.go_on.wait(DEADLINE_S)
        return context.input

    def on_session_leave(self) -> None:
        self.told.append("leave")


class Instance:
    """The other end of an executor's socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._stream.settimeout(DEADLINE_S)
        self._decoder = Decoder()
        self._packets: list[Packet] = []
        self._tag = 0

    def _next(self) -> Packet:
        while not self._packets:
            data = self._stream.recv(1 << 16)
            assert data, "the executor hung up"
            self._packets += self._decoder.feed(data)
        return self._packets.pop(0)

    def attached(self) -> AttachExecutor:
        request = self._next()
        assert request.topic == "flame.executor.attach"
        self._tag = request.aux2
        return msgspec.json.decode((request.payload or b"").rstrip(b"\0"), type=AttachExecutor)

    def report(self) -> CompletionBatch:
        request = self._next()
        assert request.topic == "flame.executor.report"
        return msgspec.msgpack.decode(request.payload or b"", type=CompletionBatch)

    def order(self, order: ExecutorOrder) -> None:
        self._answer(0, msgspec.msgpack.encode(order))

    def dismiss(self, errnum: int = ENODATA, text: bytes | None = None) -> None:
        self._answer(errnum, text)

    def _answer(self, errnum: int, payload: bytes | None) -> None:
        topic = "flame.executor.attach"
        answer = Packet(2, 0, aux1=errnum, aux2=self._tag, routes=[], topic=topic, payload=payload)
        answer.flags = STREAMING
        self._stream.sendall(wire.encode(answer))

    def hang_up(self) -> None:
        self._stream.close()


class Running:
    """An executor at work on a thread, attached."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.service = Echo()
        self.instance = Instance(there)
        self._here = here
        self._thread = threading.Thread(target=Executor(self.service, here, "executor-1").serve)
        self._thread.start()
        assert self.instance.attached() == AttachExecutor("executor-1")

    def join(self) -> None:
        self.service.go_on.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._here.close()
        self.instance.hang_up()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.instance.hang_up()
    running.join()


@pytest.fixture
def entered(running: Running) -> Running:
    running.instance.order(ExecutorOrder(ENTER))
    assert running.instance.report() == CompletionBatch("executor-1", entered=True)
    return running


def test_it_enters_works_and_leaves(entered: Running) -> None:
    entered.instance.order(ExecutorOrder(None, [(1, b"a"), (2, None), (3, b"")]))
    done: list[tuple[int, bytes | None, str | None]] = []
    while len(done) < 3:
        done += entered.instance.report().done
    assert done == [(1, b"a", None), (2, None, None), (3, b"", None)]
    entered.instance.dismiss()
    entered.join()
    assert entered.service.told == ["enter session-1", "leave"]


def test_it_says_why_it_cannot_enter_and_leaves(running: Running) -> None:
    refused = SessionContextInfo("session-1", "app", None, None, None, None, b"refuse")
    running.instance.order(ExecutorOrder(refused))
    assert (running.instance.report().failure or "").startswith("ValueError: not this session\n")
    running.join()
    assert running.service.told == ["enter session-1", "leave"]


def test_a_refused_executor_ends_without_entering(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.instance.dismiss(ENOENT, b"nobody waits for you\0")
    running.join()
    assert running.service.told == []
    assert "refused executor executor-1: nobody waits for you" in capsys.readouterr().err


def test_an_instance_that_hangs_up_is_left(entered: Running) -> None:
    entered.instance.hang_up()
    entered.join()
    assert entered.service.told == ["enter session-1", "leave"]


def test_tasks_behind_a_long_one_are_given_back_and_what_is_done_is_told(entered: Running) -> None:
    entered.instance.order(ExecutorOrder(None, [(1, b"quick"), (2, b"wait"), (3, b"c"), (4, b"d")]))
    done: list[int] = []
    returned: list[int] = []
    while len(returned) < 2:
        report = entered.instance.report()
        done += [task for task, _, _ in report.done]
        returned += report.returned
    assert (done, returned) == ([1], [3, 4])
    assert not entered.service.go_on.is_set()


def test_tasks_that_arrive_behind_a_long_one_are_given_back(entered: Running) -> None:
    entered.instance.order(ExecutorOrder(None, [(1, b"wait")]))
    assert entered.service.is_waiting.wait(DEADLINE_S)
    for task in (2, 3):
        entered.instance.order(ExecutorOrder(None, [(task, b"x")]))
        assert entered.instance.report().returned == [task]
    entered.service.go_on.set()
    assert [task for task, _, _ in entered.instance.report().done] == [1]
    entered.instance.order(ExecutorOrder(None, [(4, b"after")]))
    assert entered.instance.report().done == [(4, b"after", None)]


def test_a_dismissal_that_arrives_behind_a_long_task_is_seen_after_it(entered: Running) -> None:
    entered.instance.order(ExecutorOrder(None, [(1, b"wait")]))
    assert entered.service.is_waiting.wait(DEADLINE_S)
    entered.instance.order(ExecutorOrder(None, [(2, b"x")]))
    entered.instance.dismiss()
    assert entered.instance.report().returned == [2]  # so the dismissal is read, or about to be
    entered.service.go_on.set()
    assert [task for task, _, _ in entered.instance.report().done] == [1]
    entered.join()


def test_a_connection_that_stands_is_not_taken_for_the_one_that_hung_up_before_it() -> None:
    """The watchdog sees the end of a connection when the worker has a new one already."""
    here, there = socket.socketpair()
    with here, there:
        executor = Executor(Echo(), here, "executor-1")
        assert executor.find_instance() is True
        there.close()
        assert executor.find_instance() is False
