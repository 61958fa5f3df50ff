"""A client of the campaign: submits numbered tasks in every way there is, and journals what it is told.

Run as ``python -m tests.faults.campaign_client KIND URI FOLDER CLIENT SESSION SEED``. It goes on until FOLDER/stop
exists and all its answers are there. Killed and started again it goes on with new names, in the same sessions.
"""

from __future__ import annotations

import abc
import asyncio
import functools
import itertools
import random
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import flamepy
from flamepy import FlameError, FlameErrorCode, SessionAttributes, TaskState, aio
from tests.faults.workload import Journal, answer_to, new_input, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

PATIENCE_S = 60.0
APPLICATION = "worker"
_OUT_MAX = 2000
_CHECKED = 50
_CANCELLED_SHARE = 0.01


def attributes(session_id: str, instances: int = 2) -> SessionAttributes:
    """Every client that opens the session says the same."""
    room = flamepy.ResourceRequirement(memory=1 << 20)
    return SessionAttributes(APPLICATION, session_id, max_instances=instances, resreq=room, max_retries=1000)


class Client(abc.ABC):
    """What both kinds share: names, the journal, and what is right."""

    def __init__(self, uri: str, folder: Path, client: str, session_id: str, seed: str) -> None:
        self.uri, self.session_id = uri, session_id
        self._stop = folder / "stop"
        path = folder / f"{client}.journal"
        self.before = read_journal(path)
        self.generation = self.before.begun + 1
        self.journal = Journal(path)
        self.chance = random.Random(f"{seed} {client} {self.generation}")
        self._client = client
        self._numbers = itertools.count(1)

    @abc.abstractmethod
    def main(self) -> None:
        """All of its life."""

    @property
    def is_over(self) -> bool:
        return self._stop.exists()

    def new_task(self) -> tuple[str, bytes]:
        name = f"{self._client}.{self.generation}.{next(self._numbers)}"
        return name, new_input(name, self.chance)

    def begin(self) -> None:
        self.journal.write("begin", self.generation)

    def end(self) -> None:
        self.journal.write("end", self.generation)

    def sent(self, name: str) -> None:
        self.journal.write("sent", name)

    def told(self, name: str, data: bytes, output: bytes | None) -> None:
        if output == answer_to(data):
            self.journal.write("got", name)
        else:
            self.journal.write("bad", name, f"wrong answer: {output!r:.100}")

    def failed(self, name: str, error: BaseException) -> None:
        self.journal.write("bad", name, repr(error))

    def made(self, name: str, session_id: str, task: flamepy.Task) -> None:
        self.journal.write("made", name, session_id, task.id)

    def compare(self, name: str, task: flamepy.Task) -> None:
        """A task that was acknowledged in an earlier life."""
        if task.input is None or not task.input.startswith(f"{name} ".encode()):
            self.journal.write("bad", name, f"task {task.id} was acknowledged for it, and is {task!r:.300}")

    def sample(self) -> list[tuple[str, str, str]]:
        """Name, session and task of those that were acknowledged last."""
        return [(name, *where) for name, where in list(self.before.made.items())[-_CHECKED:]]


class Threads(Client):
    """Futures by the hundred on one thread, acknowledged tasks on the next; on the third one call after the other."""

    def main(self) -> None:
        self.connection = flamepy.connect(self.uri, reconnect_timeout=PATIENCE_S)
        self.begin()
        many = self.connection.open_session(self.session_id, attributes(self.session_id))
        one = self.connection.open_session(f"{self.session_id}-one", attributes(f"{self.session_id}-one", 1))
        for name, session_id, task_id in self.sample():
            self.compare(name, self.connection.get_session(session_id).get_task(task_id))
        self._out = threading.Semaphore(_OUT_MAX)
        works = [
            functools.partial(work, session)
            for work, session in ((self._submit, many), (self._call, one), (self._create_many, many))
        ]
        threads = [threading.Thread(target=self._guard, args=[work]) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(_OUT_MAX):
            self._out.acquire()
        self.end()
        self.connection.close()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failed("-", error)
            raise

    def _submit(self, session: flamepy.Session) -> None:
        while not self.is_over:
            for _ in range(self.chance.choice((1, 10, 100, 1000))):
                name, data = self.new_task()
                self._out.acquire()
                self.sent(name)
                future = session.run(data)
                future.add_done_callback(functools.partial(self._resolved, name, data))
                if self.chance.random() < _CANCELLED_SHARE:
                    future.cancel()
            time.sleep(self.chance.choice((0, 0.001, 0.02)))

    def _resolved(self, name: str, data: bytes, future: Future[bytes | None]) -> None:
        if future.cancelled():
            self.journal.write("cancelled", name)
        elif (error := future.exception()) is not None:
            self.failed(name, error)
        else:
            self.told(name, data, future.result())
        self._out.release()

    def _call(self, session: flamepy.Session) -> None:
        ways = (self._invoke, self._invoke, self._create, self._follow, self._map)
        while not self.is_over:
            self.chance.choice(ways)(session)

    def _invoke(self, session: flamepy.Session) -> None:
        name, data = self.new_task()
        self.sent(name)
        self.told(name, data, session.invoke(data))

    def _create(self, session: flamepy.Session) -> None:
        name, data = self.new_task()
        self.made(name, session.id, session.create_task(data))

    def _create_many(self, session: flamepy.Session) -> None:
        while not self.is_over:
            for _ in range(self.chance.choice((1, 20))):
                self._create(session)
            time.sleep(self.chance.choice((0.001, 0.01, 0.05)))

    def _follow(self, session: flamepy.Session) -> None:
        name, data = self.new_task()
        task = session.create_task(data)
        self.made(name, session.id, task)
        *_, last = session.watch_task(task.id, PATIENCE_S)
        if (last.state, last.input) != (TaskState.SUCCEED, data):
            self.journal.write("bad", name, f"watched to its end it is {last!r:.300}")
        self.told(name, data, session.get_task(task.id).output)

    def _map(self, session: flamepy.Session) -> None:
        tasks = [self.new_task() for _ in range(20)]
        for name, _ in tasks:
            self.sent(name)
        for (name, data), output in zip(tasks, session.map([data for _, data in tasks]), strict=True):
            self.told(name, data, output)


class Asyncio(Client):
    """The same on one loop."""

    def main(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        async with aio.connect(self.uri, reconnect_timeout=PATIENCE_S) as connection:
            self.begin()
            session = await connection.open_session(self.session_id, attributes(self.session_id))
            for name, session_id, task_id in self.sample():
                self.compare(name, await (await connection.get_session(session_id)).get_task(task_id))
            ways = (self._burst, self._burst, self._invoke, self._create, self._follow, self._map)
            while not self.is_over:
                await self.chance.choice(ways)(session)
        self.end()

    async def _burst(self, session: aio.Session) -> None:
        tasks = [self.new_task() for _ in range(self.chance.choice((1, 10, 100, 1000)))]
        for name, _ in tasks:
            self.sent(name)
        futures = [session.run(data) for _, data in tasks]
        for (name, data), future in zip(tasks, futures, strict=True):
            self.told(name, data, await future)

    async def _invoke(self, session: aio.Session) -> None:
        name, data = self.new_task()
        self.sent(name)
        self.told(name, data, await session.invoke(data))

    async def _create(self, session: aio.Session) -> None:
        await asyncio.gather(*(self._create_one(session) for _ in range(self.chance.choice((1, 50)))))

    async def _create_one(self, session: aio.Session) -> None:
        name, data = self.new_task()
        self.made(name, session.id, await session.create_task(data))

    async def _follow(self, session: aio.Session) -> None:
        name, data = self.new_task()
        task = await session.create_task(data)
        self.made(name, session.id, task)
        async for last in session.watch_task(task.id, PATIENCE_S):
            state = last.state
        assert state is TaskState.SUCCEED
        self.told(name, data, (await session.get_task(task.id)).output)

    async def _map(self, session: aio.Session) -> None:
        tasks = [self.new_task() for _ in range(20)]
        for name, _ in tasks:
            self.sent(name)
        outputs = [output async for output in session.map(data for _, data in tasks)]
        for (name, data), output in zip(tasks, outputs, strict=True):
            self.told(name, data, output)


_KINDS: dict[str, type[Client]] = {"threads": Threads, "asyncio": Asyncio}


def main(kind: str, uri: str, folder: str, client: str, session_id: str, seed: str) -> None:
    """As a program that a supervisor starts again: while there is no instance it waits for one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        started = _KINDS[kind](uri, Path(folder), client, session_id, seed)
        try:
            started.main()
            return
        except FlameError as error:
            if error.code is not FlameErrorCode.INVALID_CONFIG or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
