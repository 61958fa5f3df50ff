# SPDX-License-Identifier: Apache-2.0
"""Becoming a program: a child of the fork server makes itself what ``python …`` would be by now, and runs it.

Where the outcome would not be the same, the child executes the interpreter instead: same process, only slower.
"""

from __future__ import annotations

import io
import os
import pkgutil
import runpy
import signal
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from hearth.zygote.title import set_title

if TYPE_CHECKING:
    from types import TracebackType

    from hearth.zygote.messages import Fork
    from hearth.zygote.preloaded import Preloaded

__all__ = ["become"]

_OURS = os.path.join(os.path.dirname(__file__), "")


def become(request: Fork, descriptors: list[int], preloaded: Preloaded) -> None:
    """Run the program in this process, which ends when this returns or raises."""
    os.setsid()
    for source, target in zip(descriptors, (1, 2), strict=True):
        os.dup2(source, target)
        os.close(source)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in request.environment.items()})
    command = list(map(os.fsdecode, request.command))
    folders = _set_module_path(command[1], preloaded.plain_path)
    if not (preloaded.is_what(folders) and _can_run(command[1])):
        _execute(request)
    sys.executable = os.fsdecode(request.executable)
    sys.orig_argv[:] = command
    sys.argv[:] = ["-m", *command[3:]] if command[1] == "-m" else command[1:]
    set_title(sys.executable, command)
    _run(command[1:])


def _set_module_path(program: str, plain_path: list[str]) -> list[str]:
    """The path as an interpreter makes it at its start; returns what is in front of the plain one."""
    search = os.environ.get("PYTHONPATH")
    folders = list(dict.fromkeys(map(os.path.abspath, search.split(os.pathsep)))) if search else []
    plain = [entry for entry in plain_path if entry not in folders]
    if not getattr(sys.flags, "safe_path", False):  # from Python 3.11 on
        folders.insert(0, os.getcwd() if program == "-m" else os.path.dirname(os.path.realpath(program)))
    sys.path[:] = folders + plain
    return folders


def _can_run(program: str) -> bool:
    """Whether it is a module or a plain script; of what is missing, the interpreter tells in its own words."""
    if program == "-m":
        return True
    return os.path.isfile(program) and not program.endswith(".pyc") and pkgutil.get_importer(program) is None


def _execute(request: Fork) -> NoReturn:
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)  # Python ignores them, and programs inherit that
    os.execve(request.executable, request.command, request.environment)


def _run(arguments: list[str]) -> None:
    main = ModuleType("__main__")
    given = vars(sys.modules["__main__"])
    vars(main)["__builtins__"] = given["__builtins__"]
    if "__annotations__" in given:  # the interpreter's gift, to Python 3.13
        vars(main)["__annotations__"] = {}
    sys.modules["__main__"] = main
    try:
        if arguments[0] == "-m":
            runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined] # what the interpreter itself calls
        else:
            _run_script(arguments[0], vars(main))
    except BaseException:
        _hide_our_frames()
        raise


def _run_script(script: str, variables: dict[str, object]) -> None:
    path = os.path.join(os.getcwd(), script)
    variables.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    with io.open_code(path) as file:
        source = file.read()
    exec(compile(source, path, "exec", dont_inherit=True), variables)


def _hide_our_frames() -> None:
    """What is on its way out is told as if the program had been called by nobody."""
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS):
            traceback = traceback.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = hook
