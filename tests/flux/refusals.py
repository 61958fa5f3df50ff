"""What a handle says to those who use it wrongly."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

INVALID = errno.EINVAL, "EINVAL: Invalid argument"
NO_TOPIC = errno.EINVAL, "Topic must not be None/NULL"


def refused(errnum: int, text: str, call: Callable[..., object], *arguments: object) -> None:
    """The call raises OSError with just this errno and text."""
    with pytest.raises(OSError, match=re.escape(text)) as raised:
        call(*arguments)
    assert (raised.value.errno, raised.value.strerror) == (errnum, text)
