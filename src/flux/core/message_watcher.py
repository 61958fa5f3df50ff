# SPDX-License-Identifier: Apache-2.0
"""The watcher of messages; the public name is `flux.message.MessageWatcher`."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_MATCHTAG_NONE, FLUX_MSGTYPE_ANY, FLUX_ROLE_NONE, FLUX_ROLE_OWNER
from flux.core.topics import topic_matcher
from flux.core.watchers import Watcher
from flux.util import topic_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.core.handle import Flux
    from flux.packet import Packet

__all__ = ["MessageWatcher"]


class MessageWatcher(Watcher):
    """Calls cb(handle, watcher, message, args) for messages that no future waits for.

    type_mask: FLUX_MSGTYPE_* or-ed. topic_glob: see `flux.core.topics`. match_tag: of responses. rolemask:
    the roles whose messages are let through; the owner's always are. Which of several watchers gets a
    message is told in `flux.core.dispatch`. Raises TypeError for a topic_glob that is no text.
    """

    def __init__(
        self,
        flux_handle: Flux,
        type_mask: int,
        callback: Callable[..., object],
        topic_glob: str | bytes = "*",
        match_tag: int = FLUX_MATCHTAG_NONE,
        rolemask: int | None = None,
        args: Any = None,
    ) -> None:
        if topic_glob is None:
            raise TypeError(errno.EINVAL, "Topic glob must be a string, not None")
        self.topic_glob = topic_text(topic_glob)
        self.type_mask, self.match_tag = type_mask & FLUX_MSGTYPE_ANY, match_tag
        self.rolemask = (rolemask or FLUX_ROLE_NONE) | FLUX_ROLE_OWNER
        self._matches_topic = topic_matcher(self.topic_glob)
        super().__init__(flux_handle, callback, args)
        flux_handle.dispatcher.add(self)

    def start(self) -> None:
        """Begin to take messages."""
        if not self._is_active and not self._is_destroyed:
            self._is_active = True
            self.flux_handle.dispatcher.watcher_started()

    def stop(self) -> None:
        """Take no more."""
        if self._is_active:
            self._is_active = False
            self.flux_handle.dispatcher.watcher_stopped()

    def destroy(self) -> None:
        """Stop for good; the handle lets go of the watcher."""
        if not self._is_destroyed:
            self.flux_handle.dispatcher.remove(self)
        super().destroy()

    def matches(self, packet: Packet) -> bool:
        """Whether type, matchtag and topic are those watched for."""
        return bool(packet.type & self.type_mask and self._matches_topic(packet.topic) and self.matches_tag(packet))

    def matches_tag(self, packet: Packet) -> bool:
        """Whether it is the answer watched for, or any message is."""
        return not self.match_tag or (packet.aux2 == self.match_tag and not packet.routes)

    def lets_in(self, packet: Packet) -> bool:
        """Whether the sender's roles allow the message."""
        return bool(packet.rolemask & self.rolemask)
