# SPDX-License-Identifier: Apache-2.0
"""The table `flame` of the configuration: bounds of the engine that an operator may set."""

from __future__ import annotations

import dataclasses
import errno
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from hearth.broker.credentials import ServiceError
from hearth.engine.state import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["configured_limits"]

_STOCK = Limits()


class _Table(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """What `Limits` calls the same."""

    max_sessions: Annotated[int, msgspec.Meta(ge=1)] | None = _STOCK.max_sessions
    max_retries: Annotated[int, msgspec.Meta(ge=0)] = _STOCK.max_retries
    bind_attempts: Annotated[int, msgspec.Meta(ge=1)] = _STOCK.bind_attempts


def configured_limits(limits: Limits, configuration: Mapping[str, Any]) -> Limits:
    """The limits as the table says; what it does not say is as if nothing were configured, the others stay.

    Raises ServiceError EINVAL if it is not such a table.
    """
    try:
        table = msgspec.convert(configuration.get("flame", {}), _Table)
    except msgspec.ValidationError as error:
        raise ServiceError(errno.EINVAL, f"configuration, table flame: {error}") from None
    return dataclasses.replace(limits, **msgspec.structs.asdict(table))
