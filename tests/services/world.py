# SPDX-License-Identifier: Apache-2.0
"""Prints, as JSON, what a program sees of its own process. Not a service: it tells and ends."""

from __future__ import annotations

import faulthandler
import gc
import json
import locale
import os
import resource
import signal
import stat
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from typing import Any


def streams() -> dict[str, Any]:
    return {
        name: [
            type(stream).__name__,
            type(stream.buffer).__name__,
            *(getattr(stream, detail) for detail in ("name", "mode", "encoding", "errors", "line_buffering")),
            *(getattr(stream, detail)() for detail in ("isatty", "seekable", "readable", "writable", "fileno")),
            getattr(stream, "write_through", None),
        ]
        for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr))
    }


def descriptors() -> dict[str, str]:
    """What each open descriptor is. The one that lists them is gone by then."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            mode = os.fstat(int(number)).st_mode
        except OSError:
            continue
        kind = os.readlink(f"/proc/self/fd/{number}") if stat.S_ISCHR(mode) else stat.filemode(mode)
        found[number] = f"{kind} {os.get_inheritable(int(number))}"
    return found


def world() -> dict[str, Any]:
    main = sys.modules["__main__"]
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "executable": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
        "flags": str(sys.flags),
        "warnings": [sys.warnoptions, [str(each) for each in warnings.filters]],
        "main": {
            name: repr(value).partition(" at 0x")[0] for name, value in vars(main).items() if name.startswith("__")
        },
        "main_is_this": main.__dict__ is globals(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "streams": streams(),
        "stdin": sys.stdin.read(),
        "descriptors": descriptors(),
        "dispositions": {
            signum.name: str(signal.getsignal(signum)).partition(" at 0x")[0] for signum in signal.Signals
        },
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "ignored": [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))],
        "leads": [os.getpid() == os.getpgid(0), os.getpid() == os.getsid(0)],
        "umask": os.umask(0),
        "priority": [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
        "limits": [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")],
        "collector": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)],
        "interpreter": [
            sys.getrecursionlimit(),
            sys.getswitchinterval(),
            sys.dont_write_bytecode,
            sys.pycache_prefix,
            sys.getfilesystemencoding(),
            sys.excepthook is sys.__excepthook__,
            sys.displayhook is sys.__displayhook__,
            [str(finder).partition(" at 0x")[0] for finder in sys.meta_path],
            len(sys.path_hooks),
            sys.gettrace() is None,
            faulthandler.is_enabled(),
            tracemalloc.is_tracing(),
        ],
        "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False)],
        "time": [time.tzname, time.timezone],
        "temporary": tempfile.gettempdir(),
        "threads": [thread.name for thread in threading.enumerate()],
        "main_thread": threading.current_thread() is threading.main_thread(),
        "comm": open("/proc/self/comm").read(),
        "is_forked": "hearth.zygote.server" in sys.modules,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(world()))
