# SPDX-License-Identifier: Apache-2.0
"""Running one script in a process of its own: what runs it, what it finds, what it leaves."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from typing import IO, NamedTuple

__all__ = ["Ran", "Script", "run_script"]

_SHELLS = ("sh", "bash", "zsh", "csh", "tcsh", "ksh", "fish")
_SHELL = re.compile(rf"(?:/bin/|/usr/bin/)?(?:{'|'.join(_SHELLS)})")
_VERSION = re.compile(r"(?:python)?(\d+(?:\.\d+){0,2})")
_OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_METADATA = re.compile(r"^# /// script\s*$", re.MULTILINE)  # PEP 723
_STDOUT_BYTES = 64 << 20  # as a list in JSON it takes up to four times as much
_STDERR_BYTES = 64 << 10
_TOLD_LINES = 12
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TO_US = ("FLAME_INSTANCE_ENDPOINT", "FLAME_EXECUTOR_ID")
"""These say that a process is an instance; a script is none, but may be a client."""


class Script(NamedTuple):
    """What is to be run. runtime: a version of Python, or a shell. stdin is empty if it is None."""

    language: str
    code: str
    runtime: str | None = None
    stdin: bytes | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Ran:
    """What became of it. exit_code is negative for a signal, stderr is its end."""

    exit_code: int
    stdout: bytes
    stderr: str
    runtime: str
    hint: str | None = None

    @property
    def complaint(self) -> str:
        """For people: how it ended, and the last lines of stderr."""
        if self.exit_code < 0:
            how = f"the script was killed by signal {-self.exit_code}: {signal.strsignal(-self.exit_code)}"
        else:
            how = f"the script exited with status {self.exit_code}"
        return how + _last_words(self.stderr) + (f"\n{self.hint}" if self.hint else "")


def run_script(script: Script) -> Ran:
    """Run it in a fresh folder, which is removed, and end everything that it started.

    Raises ValueError for a language or runtime that is not served, TimeoutError if it takes too long, and
    RuntimeError if it prints more than 64 MiB.
    """
    with tempfile.TemporaryDirectory(prefix="flmexec-") as folder:
        command, runtime, hint = _command(script)
        path = os.path.join(folder, "main.py" if script.language == "python" else "main.sh")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script.code)
        # Files rather than pipes: a process left in the background would keep a pipe open.
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as stdout,
            tempfile.TemporaryFile() as stderr,
        ):
            stdin.write(script.stdin or b"")
            stdin.seek(0)
            exit_code = _run([*command, path], folder, (stdin, stdout, stderr), script.timeout_s)
            said = _end_of(stderr)
            if exit_code is None:
                raise TimeoutError(
                    f"the script ran longer than {script.timeout_s:g} s and was killed{_last_words(said)}"
                )
            if stdout.seek(0, os.SEEK_END) > _STDOUT_BYTES:
                raise RuntimeError(f"the script printed {stdout.tell()} bytes, at most {_STDOUT_BYTES} are returned")
            stdout.seek(0)
            return Ran(exit_code, stdout.read(), said, runtime, hint)


def _run(
    command: list[str], folder: str, streams: tuple[IO[bytes], IO[bytes], IO[bytes]], timeout_s: float | None
) -> int | None:
    """Its exit code, None if it took too long. Nothing that it started is left, even if it made itself a daemon."""
    stdin, stdout, stderr = streams
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what it leaves behind becomes our child
    before = _children()
    with warnings.catch_warnings():
        # Of forking with threads around. The child does one system call; nothing there can be locked.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in _TO_US},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # so that a script's own `kill 0` does not end us
            preexec_fn=_die_with_parent,
        )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout_s)
        return None
    finally:
        process.kill()
        process.wait()
        while orphans := _children() - before:
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _die_with_parent() -> None:
    """An instance that is killed takes its script with it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children() -> set[int]:
    files = glob.glob("/proc/self/task/*/children")
    return {int(pid) for file in files for pid in _read(file).split()}


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:  # a thread that has ended
        return ""


# -- what runs it


def _command(script: Script) -> tuple[list[str], str, str | None]:
    """The command, what people call it, and a hint for when it fails."""
    if script.language == "shell":
        shell = script.runtime or "bash"
        if not _SHELL.fullmatch(shell):
            raise ValueError(
                f"shell {shell!r} is not allowed: one of {', '.join(_SHELLS)}, bare or in /bin or /usr/bin"
            )
        if shutil.which(shell) is None:
            raise ValueError(f"shell {shell!r} is not installed on this machine")
        return [shell], shell, None
    if script.language == "python":
        return _python_command(script)
    raise ValueError(f"language {script.language!r} is not served, use python or shell")


def _python_command(script: Script) -> tuple[list[str], str, str | None]:
    """By uv if the script names its dependencies, else an interpreter of that version, else our own."""
    asked = script.runtime or os.environ.get("FLAME_PYTHON_VERSION") or _OWN_VERSION
    match = _VERSION.fullmatch(asked)
    if match is None:
        raise ValueError(f"runtime {asked!r} is no version of Python such as 3.12")
    version, hint = match[1], None
    if _METADATA.search(script.code):
        uv = shutil.which("uv")
        if uv is not None:
            return [uv, "run", "--quiet", "--python", version, "--script"], f"uv run --python {version}", None
        hint = "the script names dependencies of its own (PEP 723), which takes uv, and that is not on PATH"
    if version != _OWN_VERSION and _runs(f"python{version}"):
        return [f"python{version}"], f"python{version}", hint
    return [sys.executable], f"python{_OWN_VERSION}", hint


def _runs(command: str) -> bool:
    """Whether the program is there and starts; a shim of a version manager may be there and not start."""
    try:
        return (
            subprocess.run([command, "-c", ""], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


# -- what it said


def _end_of(stderr: IO[bytes]) -> str:
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _STDERR_BYTES))
    return stderr.read().decode("utf-8", "replace")


def _last_words(stderr: str) -> str:
    lines = [line.rstrip() for line in stderr.splitlines() if line.strip()][-_TOLD_LINES:]
    return "; the last lines of stderr:\n" + "\n".join(lines) if lines else ""
