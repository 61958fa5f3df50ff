# SPDX-License-Identifier: Apache-2.0
"""Names of objects: ``<app>/<session>/<object>``, and the prefixes that name many. Does no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["WILDCARD_SESSION", "ObjectKey"]

WILDCARD_SESSION: Final = "*"
"""As the session of a key without an object: all sessions of the application."""

_SHARED = "shared"
_PART_MAX_BYTES = 255  # a part may become the name of a file, and no file system takes longer ones


@dataclass(frozen=True)
class ObjectKey:
    """One object, all objects of a session (no object_id), or of an application (session_id ``*``).

    Each part has 1 to 255 bytes of UTF-8, no ``..``, ``/``, ``\\`` or NUL. Raises ValueError for anything else.
    """

    app_name: str
    session_id: str
    object_id: str | None = None

    def __post_init__(self) -> None:
        _check("application", self.app_name)
        if self.session_id != WILDCARD_SESSION:
            _check("session", self.session_id)
        elif self.object_id is not None:
            raise ValueError(f"session {WILDCARD_SESSION!r} means all sessions and takes no object")
        if self.object_id is not None:
            _check("object", self.object_id)

    @classmethod
    def from_path(cls, path: str) -> ObjectKey:
        """Read ``<app>/<session>`` or ``<app>/<session>/<object>``."""
        parts = path.split("/")
        if len(parts) not in (2, 3):
            raise ValueError(f"object key {_shown(path)}: want <app>/<session> or <app>/<session>/<object>")
        return cls(*parts)

    @classmethod
    def from_prefix(cls, prefix: str) -> ObjectKey:
        """Read ``<app>/<session>``."""
        key = cls.from_path(prefix)
        if key.object_id is not None:
            raise ValueError(f"object key prefix {_shown(prefix)}: want <app>/<session>, without an object")
        return key

    @classmethod
    def from_key(cls, key: str) -> ObjectKey:
        """Read ``<app>/<session>/<object>``."""
        found = cls.from_path(key)
        if found.object_id is None:
            raise ValueError(f"object key {_shown(key)}: want <app>/<session>/<object>, the object is missing")
        return found

    @classmethod
    def for_shared(cls, app_name: str) -> ObjectKey:
        """Where an application keeps what belongs to no session: ``<app>/shared``."""
        return cls(app_name, _SHARED)

    @classmethod
    def for_all_sessions(cls, app_name: str) -> ObjectKey:
        """Everything of an application: ``<app>/*``."""
        return cls(app_name, WILDCARD_SESSION)

    def is_all_sessions(self) -> bool:
        """Whether it names all objects of an application."""
        return self.session_id == WILDCARD_SESSION

    def with_generated_id(self) -> ObjectKey:
        """The key of a new object here. Raises ValueError for all sessions at once."""
        import uuid  # 2 ms that clients need not pay: the instance makes the ids

        return ObjectKey(self.app_name, self.session_id, str(uuid.uuid4()))

    def to_prefix(self) -> str:
        """``<app>/<session>``, also of a full key."""
        return f"{self.app_name}/{self.session_id}"

    def to_key(self) -> str | None:
        """``<app>/<session>/<object>``, None without an object."""
        return None if self.object_id is None else f"{self.to_prefix()}/{self.object_id}"

    def matches_key(self, key: str) -> bool:
        """Whether a full key is the object named, or below the prefix."""
        try:
            other = ObjectKey.from_key(key)
        except ValueError:
            return False
        return (
            other.app_name == self.app_name
            and (self.is_all_sessions() or other.session_id == self.session_id)
            and self.object_id in (None, other.object_id)
        )

    def __str__(self) -> str:
        return self.to_key() or self.to_prefix()


def _check(what: str, part: str) -> None:
    """Raise ValueError unless the part may stand in a key."""
    if not isinstance(part, str) or not part:
        raise ValueError(f"{what} of an object key: got {part!r}, want a text that is not empty")
    if part == WILDCARD_SESSION:
        raise ValueError(f"{what} of an object key: {WILDCARD_SESSION!r} may stand for the session only")
    wrong = next((text for text in ("..", "/", "\\", "\0") if text in part), None)
    if wrong is not None:
        raise ValueError(f"{what} of an object key: {_shown(part)} has {wrong!r} in it")
    if len(part.encode()) > _PART_MAX_BYTES:
        raise ValueError(f"{what} of an object key: {_shown(part)} has over {_PART_MAX_BYTES} bytes")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
