# SPDX-License-Identifier: Apache-2.0
"""Which addresses an instance can be at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode

if TYPE_CHECKING:
    from flamepy.core.config import FlameClientTls

__all__ = ["check_address"]


def check_address(addr: str, tls_config: FlameClientTls | None = None) -> None:
    """Raise FlameError INVALID_CONFIG for an address where nobody can be."""
    if not addr:
        raise FlameError(FlameErrorCode.INVALID_CONFIG, "address cannot be empty")
    if not isinstance(addr, str):
        raise FlameError(FlameErrorCode.INVALID_CONFIG, f"address is {addr!r}, want text such as local://PATH")
    scheme, separator, _ = addr.partition("://")
    if not separator or scheme != "local":
        raise FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"address {addr!r}: scheme {scheme if separator else ''!r} is not served, use local://PATH"
            " as `hearth up` prints it",
        )
    if tls_config is not None:
        raise FlameError(FlameErrorCode.INVALID_CONFIG, f"address {addr!r}: a local socket takes no TLS")
