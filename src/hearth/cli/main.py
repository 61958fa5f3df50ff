# SPDX-License-Identifier: Apache-2.0
"""The `hearth` command: puts the nouns together; each is loaded when it is used, so --help and up start fast.

Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from hearth import __version__

__all__ = ["main"]

_INTERRUPTED = 130

_NOUNS = {
    "app": "Applications: what sessions can be made of.",
    "attr": "Attributes: what the instance tells about itself.",
    "completion": "Print a script that completes the words of `hearth` in SHELL.",
    "config": "The configuration that was loaded into the instance.",
    "connection": "Connections: who talks to the instance, and how much.",
    "event": "Events of the message plane.",
    "executor": "Executors: the processes that serve sessions.",
    "kvs": "The key-value store: values by dotted keys, kept by the instance.",
    "log": "The log of the instance: its last lines, and those to come.",
    "node": "Nodes: the machines that run executors.",
    "ping": "Run flmping tasks and tell how long they took.",
    "service": "Services of the message plane.",
    "session": "Sessions, open and closed.",
    "status": "The instance at a glance.",
    "task": "Tasks of a session.",
    "up": "Run an instance in the foreground until SIGTERM or Ctrl-C.",
}
"""Each is the command of the same name in the module of the same name; here with the first line of its help."""


class _Nouns(click.Group):
    """Finds commands by name, and is the edge where interrupts and the world's errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _NOUNS:
            return None
        command = getattr(importlib.import_module(f"hearth.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_NOUNS.items()))

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **extra)
        except BrokenPipeError:  # --help and --version print here
            _discard_stdout()
            sys.exit()

    def invoke(self, ctx: click.Context) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # else a letter that the locale lacks would end the command
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except UnicodeEncodeError as error:  # stdout takes any text, so this was on its way to the instance
            raise click.UsageError(f"{error.object!r} is no UTF-8 text") from error
        except BrokenPipeError:
            _discard_stdout()  # whoever read our output has enough: that is no failure
        except OSError as error:
            _discard_stdout()
            text = error.strerror or str(error)
            raise click.ClickException(f"{error.filename}: {text}" if error.filename else text) from error


def _discard_stdout() -> None:
    """What is still buffered would fail once more at the end of the process, and loudly."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(
    cls=_Nouns, context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: hearth ping --tasks 100"
)
@click.version_option(__version__, prog_name="hearth")
def main() -> None:
    """Sessions of many short tasks on an addressable message bus."""
