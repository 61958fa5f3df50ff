"""A campaign: clients under load while daemon, executors, fork server and clients are killed at random moments.

Then the faults stop, all that was begun is finished, and everything is compared: what clients were told, what the
instance lists, what was executed. ``python -m tests.faults.campaign --seconds 60 --runs 10`` runs it by itself. The
same seed gives the same faults and the same tasks, at moments that depend on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.conftest import DEADLINE_S, SOURCE, Daemon, Place, wait_until
from tests.faults.campaign_checks import Findings, check
from tests.faults.campaign_client import APPLICATION, PATIENCE_S
from tests.faults.workload import read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import flamepy

__all__ = ["Campaign", "run_campaign"]

ROOT = SOURCE.parent
SERVICE = Path(__file__).with_name("campaign_service.py")
CLIENTS = {"c0": ("threads", "shared"), "c1": ("threads", "own"), "c2": ("asyncio", "shared")}
"""Kind and session of each."""
_PAUSE_S = 0.6
"""Between two faults, on average."""
_CONFIGURATION = """
[cluster]
recovery.session.retry_limits = 1000  # executors that are killed before their first task are no sign of a bad service
"""


class Campaign:
    """The processes of one run, in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.done: Counter[str] = Counter()
        """Faults, by name."""
        self._chance = random.Random(seed)
        self._place = Place(folder)
        configuration = folder / "hearth.toml"
        configuration.write_text(_CONFIGURATION)
        self._variables = {"FLAME_RECONNECT_TIMEOUT": f"{PATIENCE_S}", "PYTHONPATH": f"{SOURCE}{os.pathsep}{ROOT}"}
        self._daemon = Daemon(self._place, "--config", str(configuration), **self._variables)
        with contextlib.closing(self._daemon.connect()) as connection:
            self._register(connection)
        self._clients = {name: self._start_client(name) for name in CLIENTS}
        self._faults: dict[str, tuple[int, Callable[[], object]]] = {
            "daemon killed": (6, self._kill_daemon),
            "daemon killed twice": (2, self._kill_daemon_twice),
            "daemon stopped": (1, self._stop_daemon),
            "executor killed": (6, self._kill_executor),
            "executor stopped": (2, self._stop_executor),
            "fork server killed": (2, self._kill_fork_server),
            "client killed": (3, self._kill_client),
        }

    def _register(self, connection: flamepy.Connection) -> None:
        environments = {"PYTHONPATH": self._variables["PYTHONPATH"], "CAMPAIGN_NOTES": str(self.folder / "notes")}
        connection.register_application(
            APPLICATION,
            {"command": "python3", "arguments": [str(SERVICE)], "environments": environments, "installer": "python"},
        )

    def _start_client(self, name: str) -> subprocess.Popen[bytes]:
        kind, session = CLIENTS[name]
        arguments = [kind, self._daemon.uri, str(self.folder), name, session, str(self.seed)]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.faults.campaign_client", *arguments],
                env=self._place.environment(**self._variables),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    # -- faults

    def wait_for_load(self) -> None:
        """Every client is at work."""
        journals = [self.folder / f"{name}.journal" for name in CLIENTS]
        wait_until(lambda: all(read_journal(journal).got for journal in journals), "every client has answers")

    def cause_faults(self, seconds: float) -> None:
        """One after the other, at random moments."""
        names = list(self._faults)
        weights = [weight for weight, _ in self._faults.values()]
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self._chance.expovariate(1 / _PAUSE_S)))
            [name] = self._chance.choices(names, weights)
            self.done[name] += bool(self._faults[name][1]())
            self._check_clients()

    def _kill_daemon(self) -> bool:
        self._daemon.kill()
        time.sleep(self._chance.choice((0, 0, self._chance.random())))
        self._daemon.start()
        return True

    def _kill_daemon_twice(self) -> bool:
        """The second time in the middle of its start."""
        self._daemon.kill()
        self._daemon.launch()
        time.sleep(self._chance.random() / 2)
        self._daemon.abandon()
        self._daemon.start()
        return True

    def _stop_daemon(self) -> bool:
        return self._pause(self._daemon.process.pid)

    def _pause(self, pid: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._chance.random())
            os.kill(pid, signal.SIGCONT)
        return True

    def _kill_executor(self) -> bool:
        return self._kill_one_of(SERVICE.name)

    def _kill_fork_server(self) -> bool:
        return self._kill_one_of("zygote")

    def _stop_executor(self) -> bool:
        found = self._find(SERVICE.name)
        return bool(found) and self._pause(self._chance.choice(found))

    def _kill_one_of(self, what: str) -> bool:
        found = self._find(what)
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chance.choice(found), signal.SIGKILL)
        return bool(found)

    def _find(self, what: str) -> list[int]:
        """Processes whose command line names it."""
        found = []
        for process in self._place.processes():
            with contextlib.suppress(psutil.Error):
                if what in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found

    def _kill_client(self) -> bool:
        name = self._chance.choice(list(CLIENTS))
        self._clients[name].kill()
        self._clients[name].wait(DEADLINE_S)
        self._clients[name] = self._start_client(name)
        return True

    def _check_clients(self) -> None:
        for name, client in self._clients.items():
            assert client.poll() is None, f"client {name} ended:\n{(self.folder / f'{name}.log').read_text()[-4000:]}"

    # -- afterwards

    def settle(self) -> Findings:
        """No fault any more: everybody finishes, and what they say is compared."""
        (self.folder / "stop").touch()
        for name, client in self._clients.items():
            try:
                status = client.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"client {name} hangs: {self._outstanding()}") from None
            assert status == 0, f"client {name}:\n{(self.folder / f'{name}.log').read_text()[-4000:]}"
        with contextlib.closing(self._daemon.connect()) as connection:
            wait_until(lambda: not any(self._unfinished(connection)), "all tasks have ended")
            findings = check(connection, self.folder, list(CLIENTS))
            for session in connection.list_sessions():
                session.close()
        self._daemon.stop()
        self._place.wait_until_empty()
        left = {path.name for path in [*self._daemon.rundir.iterdir(), *self._daemon.statedir.iterdir()]}
        assert left == {"content.sqlite", "flame.sqlite"}, f"left behind: {left}"
        return findings

    def _unfinished(self, connection: flamepy.Connection) -> Iterator[int]:
        for session in connection.list_sessions():
            yield session.pending + session.running

    def _outstanding(self) -> str:
        with contextlib.closing(self._daemon.connect()) as connection:
            return f"{connection.list_sessions()}, {connection.list_executors()}"

    def end(self) -> None:
        """Nothing is left, whatever has happened."""
        for process in self._place.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for started in (self._daemon.process, *self._clients.values()):
            started.wait(DEADLINE_S)


def run_campaign(seconds: float, seed: int) -> str:
    """One run; returns what happened in it. Raises AssertionError, and keeps the folder, if anything was lost."""
    folder = Path(tempfile.mkdtemp(prefix="hearth-faults-"))  # a socket's path has at most 107 bytes
    try:
        campaign = Campaign(folder, seed)
        try:
            campaign.wait_for_load()
            campaign.cause_faults(seconds)
            findings = campaign.settle()
        finally:
            campaign.end()
    except BaseException:
        again = f"make faults RUNS=1 SECONDS={seconds:g} SEED={seed}"
        sys.stderr.write(f"seed {seed} failed; its journals, log and stores are in {folder}; again: {again}\n")
        raise
    shutil.rmtree(folder)
    faults = ", ".join(f"{name} {count} times" for name, count in sorted(campaign.done.items()))
    return f"seed {seed}: {findings}; {faults}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults, in each run")
    parser.add_argument("--seed", type=int, default=None, help="of the first run; those of the others follow")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    first = random.randrange(1_000_000) if options.seed is None else options.seed
    for seed in range(first, first + options.runs):
        print(run_campaign(options.seconds, seed), flush=True)


if __name__ == "__main__":
    main()
