"""What a forked child does, as an exit status."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from typing import TYPE_CHECKING

from tests.conftest import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_child(function: Callable[[], object]) -> int:
    """The exit status of a forked child that ran the function: 0 if it raised nothing."""
    with warnings.catch_warnings():
        # From Python 3.12 on: forking with threads is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        signal.alarm(int(DEADLINE_S))  # a child that hangs would outlive the test run
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
