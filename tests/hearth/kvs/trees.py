"""Tree objects as clients write them, and the operations of a commit."""

from __future__ import annotations

import base64
from typing import Any

from hearth.kvs.commit import Operation
from hearth.kvs.objects import ref_of

Tree = dict[str, Any]


def val(data: bytes) -> Tree:
    return {"ver": 1, "type": "val", "data": base64.b64encode(data).decode()}


def directory(**entries: Tree) -> Tree:
    return {"ver": 1, "type": "dir", "data": entries}


def symlink(target: str, **more: str) -> Tree:
    return {"ver": 1, "type": "symlink", "data": {"target": target, **more}}


def dirref(ref: str) -> Tree:
    return {"ver": 1, "type": "dirref", "data": [ref]}


def valref(*pieces: bytes) -> Tree:
    return {"ver": 1, "type": "valref", "data": [ref_of(piece) for piece in pieces]}


def op(key: str, dirent: Tree | None, flags: int = 0) -> Operation:
    return Operation(key, flags, dirent)


def op_json(key: str, dirent: Tree | None, flags: int = 0) -> Tree:
    return {"key": key, "flags": flags, "dirent": dirent}
