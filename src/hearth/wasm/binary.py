# SPDX-License-Identifier: Apache-2.0
"""The binary form of components, as far as one must know it to look at their types and to put one into another. Pure.

A binary is 8 bytes of header, which tell modules from components, and sections: an id, a length, a content.
Numbers are LEB128. Source: the binary format of the component model, and of WebAssembly for modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COMPONENT_HEADER", "MODULE_HEADER", "NotReadable", "NotWrappable", "hollow", "imports_of", "wrap"]

COMPONENT_HEADER = b"\0asm\x0d\0\1\0"
MODULE_HEADER = b"\0asm\1\0\0\0"

_CUSTOM, _CORE_MODULE, _COMPONENT, _ALIAS, _TYPE, _IMPORT = 0, 1, 4, 6, 7, 10  # sections of components
_CODE, _DATA, _DATA_COUNT = 10, 11, 12  # sections of modules, besides _CUSTOM
_SORT_TYPE, _SORT_INSTANCE = 3, 5
_UNREACHABLE = b"\3\0\0\x0b"  # the body of a function: 3 bytes, no locals, unreachable, end


class NotReadable(ValueError):
    """The bytes are no component: the text says where they stop being one."""


class NotWrappable(Exception):
    """A component that may be a good one, but has a shape that we cannot put into another."""


class Imports(NamedTuple):
    """What a component asks its host for."""

    sections: bytes
    """Types, imports and aliases, to be copied as they are: they mean the same at the start of another component."""
    instances: list[str]
    """The names of the imported instances, in the order of their indices."""


class _Reader:
    """Reads numbers and names from the content of a section. Raises NotReadable at its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise NotReadable(f"it ends within a section, at byte {self.at} of its content")
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while shift < 35:  # 32 bits in groups of 7
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise NotReadable(f"a number of more than 32 bits at byte {self.at} of a section")

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise NotReadable(f"a section or name of {size} bytes, and only {len(taken)} are left")
        self.at += size
        return taken

    def name(self) -> str:
        return self.take(self.number()).decode("utf-8", "replace")


def _sections(binary: bytes) -> Iterator[tuple[int, bytes]]:
    """Ids and contents. Raises NotReadable."""
    reader = _Reader(binary)
    reader.at = len(COMPONENT_HEADER)
    while reader.at < len(binary):
        yield reader.byte(), reader.take(reader.number())


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _number(len(content)) + content


def hollow(binary: bytes) -> bytes:
    """The same component with empty functions and no data: its types are the same, and it compiles quickly.

    Raises NotReadable.
    """
    is_module = binary.startswith(MODULE_HEADER)
    parts = [binary[: len(COMPONENT_HEADER)]]
    for kind, content in _sections(binary):
        if kind == _CUSTOM or (is_module and kind in (_DATA, _DATA_COUNT)):
            continue
        if is_module and kind == _CODE:
            count = _Reader(content).number()
            if count > len(content):
                raise NotReadable(f"a code section of {len(content)} bytes for {count} functions")
            content = _number(count) + count * _UNREACHABLE
        elif not is_module and kind in (_CORE_MODULE, _COMPONENT):
            content = hollow(content)
        parts.append(_section(kind, content))
    return b"".join(parts)


def imports_of(component: bytes) -> Imports:
    """What stands before everything else in a component. Raises NotReadable, NotWrappable."""
    copied: list[bytes] = []
    instances: list[str] = []
    may_come = True
    for kind, content in _sections(component):
        if kind not in (_CUSTOM, _TYPE, _ALIAS, _IMPORT):
            may_come = False
        elif kind == _IMPORT and not may_come:
            raise NotWrappable("it imports something after its first definitions")
        elif kind != _CUSTOM and may_come:
            copied.append(_section(kind, content))
            if kind == _IMPORT:
                instances += _imported_instances(content)
            elif kind == _ALIAS:
                _check_aliases(content)
    return Imports(b"".join(copied) if instances else b"", instances)


def _imported_instances(content: bytes) -> list[str]:
    reader = _Reader(content)
    names = []
    for _ in range(reader.number()):
        form, name, sort = reader.byte(), reader.name(), reader.byte()
        if form > 1 or sort != _SORT_INSTANCE:
            raise NotWrappable(f"it imports {name!r}, which is no instance of an interface")
        reader.number()
        names.append(name)
    return names


def _check_aliases(content: bytes) -> None:
    """Only types: anything else would shift the indices of what comes behind."""
    reader = _Reader(content)
    for _ in range(reader.number()):
        sort, target = reader.byte(), reader.byte()
        if sort != _SORT_TYPE or target != 0:  # of an export of an instance
            raise NotWrappable("it uses parts of what it imports, other than types, before its first definitions")
        reader.number()
        reader.name()


def wrap(outer: bytes, imports: Imports, inner: bytes) -> bytes:
    """The component `outer` with those imports instead of its own, and `inner` instead of its first component."""
    sections = list(_sections(outer))
    first = next(at for at, (kind, _) in enumerate(sections) if kind == _COMPONENT)
    rest = b"".join(_section(kind, content) for kind, content in sections[first + 1 :])
    return COMPONENT_HEADER + imports.sections + _section(_COMPONENT, inner) + rest
