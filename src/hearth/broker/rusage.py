# SPDX-License-Identifier: Apache-2.0
"""What the daemon has used of the machine, as getrusage(2) tells it."""

from __future__ import annotations

import errno
import resource
from typing import Final

from hearth.broker.credentials import ServiceError

__all__ = ["resource_usage"]

_WHO: Final = {"self": resource.RUSAGE_SELF, "children": resource.RUSAGE_CHILDREN, "thread": resource.RUSAGE_THREAD}
_TIMES = ("utime", "stime")
_SIZES = ("maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock")
_COUNTS = ("msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw")


def resource_usage(who: str) -> dict[str, float]:
    """The fields by name, times in seconds, maxrss in KiB. Raises ServiceError EINVAL for an unknown who."""
    if who not in _WHO:
        raise ServiceError(errno.EINVAL, f"{who} is unsupported")
    usage = resource.getrusage(_WHO[who])
    return {field: getattr(usage, f"ru_{field}") for field in _TIMES + _SIZES + _COUNTS}
