# SPDX-License-Identifier: Apache-2.0
"""The `attr` service: what the instance tells about itself, name by name."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_ROLE_ALL
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["LOG_STDERR_LEVEL", "AttributeService", "Attributes"]

_IMMUTABLE_FLAG = 1  # clients keep such a value for good
_NUMBER = re.compile(r"[+-]?[0-9]{1,1000}")
_NAMES_MAX = 4096
_LEVEL_MAX = 7  # debug, the least severe; a level below 0 shows nothing

LOG_STDERR_LEVEL = "log-stderr-level"
"""Lines of the log as severe as this, or more, are shown on the daemon's stderr."""


@dataclass(slots=True)
class _Attribute:
    value: str | None
    """None: the name is listed, and may be set once, but there is nothing to get."""
    immutable: bool = False


class Attributes:
    """The attributes of one broker. Pure.

    Only known names exist: those given at the start (a value None: to be set yet), those in KNOWN, and the
    families ``test.`` (changed at will), ``test-ro.``, ``test-nr.`` and ``vendor.``, which is the site's (set once,
    then only by force), ``test-im.`` (set once, and clients may keep it), ``test-rd.`` (belongs to a service that
    nobody has).
    """

    KNOWN = frozenset(
        {
            "broker.exit-restart",
            "broker.module-nopanic",
            "broker.rc1_path",
            "broker.rc3_path",
            "conf.shell_initrc",
            "conf.shell_pluginpath",
            "config.path",
            "content.backing-module",
            "content.dump",
            "content.restore",
            "jobid",
        }
    )
    """Not listed before they are set."""

    _FREE = ("test.",)
    _ONCE = ("test-ro.", "test-nr.", "test-im.", "vendor.")
    _REDIRECTED = "test-rd."
    _CONSTANT = ("test-im.", "config.path", "jobid")
    _UPDATABLE = frozenset(
        {
            LOG_STDERR_LEVEL,
            "broker.exit-restart",
            "broker.module-nopanic",
            "conf.shell_initrc",
            "conf.shell_pluginpath",
            "content.dump",
            "content.restore",
        }
    )

    def __init__(self, immutable: Mapping[str, str | None], plain: Mapping[str, str | None]) -> None:
        self._attributes = {name: _Attribute(value, immutable=True) for name, value in immutable.items()}
        self._attributes.update({name: _Attribute(value) for name, value in plain.items()})

    def get(self, name: str) -> tuple[str, int]:
        """Value and flags (1: immutable). Raises ServiceError ENOENT."""
        attribute = self._attributes.get(name)
        if attribute is None or attribute.value is None:
            raise ServiceError(errno.ENOENT)
        return attribute.value, _IMMUTABLE_FLAG if attribute.immutable else 0

    def set(self, name: str, value: str, *, force: bool = False) -> None:
        """Give a known name a value.

        Raises ServiceError: ENOENT unknown name, EINVAL not to be updated or not such a value, EPERM constant
        even with force, ENOSYS the name of a service that is not here.
        """
        if name == LOG_STDERR_LEVEL:
            _check_level(value)
        attribute = self._attributes.get(name)
        if attribute is None:
            self._attributes[name] = self._new(name, value)
        elif attribute.value is None:
            attribute.value = value
        elif not force and name not in self._UPDATABLE and not name.startswith(self._FREE):
            raise ServiceError(errno.EINVAL, "attribute may not be updated")
        elif attribute.immutable:
            raise ServiceError(errno.EPERM)
        else:
            attribute.value = value

    def _new(self, name: str, value: str) -> _Attribute:
        if name.startswith(self._REDIRECTED):
            raise ServiceError(errno.ENOSYS)
        if name not in self.KNOWN and not name.startswith(self._FREE + self._ONCE):
            raise ServiceError(errno.ENOENT, "unknown attribute")
        if len(self._attributes) >= _NAMES_MAX:
            raise ServiceError(errno.ENOSPC, f"over {_NAMES_MAX} attributes, remove some first")
        return _Attribute(value, immutable=name.startswith(self._CONSTANT))

    def remove(self, name: str) -> None:
        """Removing what is not there is fine. Raises ServiceError EPERM if immutable."""
        attribute = self._attributes.get(name)
        if attribute is not None and attribute.immutable:
            raise ServiceError(errno.EPERM)
        self._attributes.pop(name, None)

    def names(self) -> list[str]:
        """Every name, in no order."""
        return list(self._attributes)


def _check_level(value: str) -> None:
    """Raise ServiceError EINVAL unless it is a number up to 7."""
    if not _NUMBER.fullmatch(value) or int(value) > _LEVEL_MAX:
        raise ServiceError(errno.EINVAL, "invalid level")


class _Name(msgspec.Struct):
    name: str


class _Set(msgspec.Struct):
    name: str
    value: str
    force: bool = False


class AttributeService(Service):
    """attr.get, attr.set, attr.rm, attr.list."""

    def __init__(self, router: Router, attributes: Attributes) -> None:
        super().__init__(router, "attr")
        self._attributes = attributes
        self.add_method("get", JsonPayload(_Name), self._get, FLUX_ROLE_ALL)
        self.add_method("set", JsonPayload(_Set), self._set)
        self.add_method("rm", JsonPayload(_Name), self._remove)
        self.add_method("list", no_payload, self._list, FLUX_ROLE_ALL)

    def _get(self, request: Packet, wanted: _Name) -> dict[str, str | int]:
        value, flags = self._attributes.get(wanted.name)
        return {"value": value, "flags": flags}

    def _set(self, request: Packet, wanted: _Set) -> None:
        self._attributes.set(wanted.name, wanted.value, force=wanted.force)

    def _remove(self, request: Packet, wanted: _Name) -> None:
        self._attributes.remove(wanted.name)

    def _list(self, request: Packet, nothing: None) -> dict[str, list[str]]:
        return {"names": self._attributes.names()}
