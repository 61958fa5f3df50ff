# SPDX-License-Identifier: Apache-2.0
"""The part of a handle that deals with the broker's own services: attributes, the log, the service table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux import packet as wire
from flux.broker_requests import log_header, log_lines
from flux.constants import FLUX_MATCHTAG_NONE
from flux.core.messaging import Messaging
from flux.util import get_treedict, topic_text

if TYPE_CHECKING:
    from flux.core.link import Link
    from flux.rpc import RPC

__all__ = ["ServiceMethods"]

_IMMUTABLE = 1  # flag of an attribute that never changes, so it is asked for once


class ServiceMethods(Messaging):
    """Each method that returns no future waits for the answer, without a time limit.

    All raise ConnectionResetError when the connection is lost meanwhile, BrokenPipeError when it was before.
    """

    def __init__(self, link: Link, flags: int) -> None:
        super().__init__(link, flags)
        self._attributes: dict[str, str] = {}
        self._config: dict[str, Any] | None = None

    def service_register(self, name: str | bytes) -> RPC:
        """Have requests whose topic begins with ``name.`` sent here.

        The future raises FileExistsError when the name is taken, OSError (EINVAL) when it has a dot,
        PermissionError for a guest's name that does not begin with its userid.
        """
        return self.rpc("service.add", {"service": topic_text(name)})

    def service_unregister(self, name: str | bytes) -> RPC:
        """Undo `service_register`; the future raises FileNotFoundError when it was not done here."""
        return self.rpc("service.remove", {"service": topic_text(name)})

    def get_rank(self) -> int:
        """The rank of the broker this handle is connected to; asked for once."""
        return int(self.attr_get("rank"))

    def attr_get(self, name: str | bytes) -> str:
        """The value of a broker attribute; one that never changes is asked for once. Raises FileNotFoundError."""
        name = topic_text(name)
        value = self._attributes.get(name)
        if value is None:
            answer = self._call("attr.get", {"name": name})
            value = str(answer["value"])
            if answer["flags"] & _IMMUTABLE:
                self._attributes[name] = value
        return value

    def attr_set(self, name: str, value: str) -> None:
        """Set a broker attribute.

        Raises ValueError for what is no str, FileNotFoundError for an unknown name (``test.*`` and ``vendor.*``
        are free), PermissionError for a constant or from a guest, OSError (EINVAL) for what is set only once.
        """
        if not isinstance(name, str):
            raise ValueError("Attribute name must be a string")
        if not isinstance(value, str):
            raise ValueError("Attribute value must be a string")
        self._call("attr.set", {"name": name, "value": value})

    def attr_remove(self, name: str) -> None:
        """Remove a broker attribute, which may be absent.

        Raises ValueError for what is no str, PermissionError for a constant or from a guest.
        """
        if not isinstance(name, str):
            raise ValueError("Attribute name must be a string")
        self._call("attr.rm", {"name": name})

    def conf_get(self, key: str | None = None, default: Any = None, update: bool = False) -> Any:
        """The instance's configuration, or what a dotted key names in it, `default` if nothing does.

        Fetched when first asked for; again with update. Raises AttributeError for a key that goes on below
        a value which is no table.
        """
        if update or self._config is None:
            self._config = self.rpc("config.get").get()
        return self._config if key is None else get_treedict(self._config, key, default)

    def log(self, level: int, fstring: str | bytes) -> None:
        """Append to the broker's log, each line of the text as one record; nothing confirms it.

        level: of `syslog`, LOG_EMERG 0 to LOG_DEBUG 7, else ValueError. The text is taken as it is: str or bytes,
        else TypeError.
        """
        for line in log_lines(level, fstring):
            record = log_header(level, self.get_rank()) + line
            self.link.send(
                wire.request("log.append", record, matchtag=FLUX_MATCHTAG_NONE), at_once=self.writes_at_once()
            )
