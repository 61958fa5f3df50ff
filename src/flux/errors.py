# SPDX-License-Identifier: Apache-2.0
"""How the package words its own errors, next to those that services send."""

from __future__ import annotations

import errno
import os

__all__ = ["InvalidArguments", "MissingFunctionError", "WrongNumArguments", "named_error"]


class InvalidArguments(TypeError, ValueError):
    """An argument of the wrong kind. A TypeError for Python, a ValueError for callers of the C bindings."""


class WrongNumArguments(TypeError, ValueError):
    """A function of a C name was called with more or fewer arguments than it has."""


class MissingFunctionError(AttributeError):
    """No attribute of this name. Raised where it is looked up, so that `hasattr` tells the truth."""


def named_error(errnum: int) -> OSError:
    """The OSError of a failed direct call: ``ENAME: strerror``, in the subclass that belongs to errnum."""
    return OSError(errnum, f"{errno.errorcode.get(errnum, errnum)}: {os.strerror(errnum)}")
