"""What a program for threads can call, a program for asyncio can call, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import flamepy
from flamepy import aio

HELPERS = [name for name in aio.__all__ if name.islower() and name != "shared_connection"]


def public(owner: type) -> list[str]:
    return [name for name, member in vars(owner).items() if callable(member) and not name.startswith("_")]


def parameters(function: Any) -> list[tuple[str, object, object]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", public(flamepy.Session))
def test_sessions_have_the_same_methods(name: str) -> None:
    assert parameters(getattr(aio.Session, name)) == parameters(getattr(flamepy.Session, name))


@pytest.mark.parametrize("name", public(flamepy.Connection))
def test_connections_have_the_same_methods(name: str) -> None:
    assert parameters(getattr(aio.Connection, name)) == parameters(getattr(flamepy.Connection, name))


@pytest.mark.parametrize("name", [name for name in HELPERS if name != "connect"])
def test_helpers_have_the_same_parameters(name: str) -> None:
    assert parameters(getattr(aio, name)) == parameters(getattr(flamepy, name))


def test_every_helper_that_asks_the_instance_is_there() -> None:
    asking = {name for name in public(flamepy.Connection) if hasattr(flamepy, name)}
    assert asking <= set(HELPERS)
