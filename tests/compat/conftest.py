"""One instance for all of these tests, which find it as programs do: through FLAME_ENDPOINT."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import flamepy
from flamepy.core import ConnectionInstance
from flamepy.core.objects import _ProcessWide
from tests.compat import echo
from tests.conftest import Daemon, has_closed, new_place, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def forget_the_shared_connection() -> None:
    """What this process shares belongs to one instance; the next one is another."""
    if ConnectionInstance._connection is not None:
        ConnectionInstance._connection.close()
        ConnectionInstance._connection = None
    _ProcessWide.objects = None


@pytest.fixture(scope="package")
def instance() -> Iterator[Daemon]:
    """An instance where nothing is registered, and the default of this process."""
    with new_place() as place, pytest.MonkeyPatch.context() as environment:
        for name in ("FLAME_CACHE_ENDPOINT", "FLAME_CACHE_STORAGE", "FLAME_CA_FILE"):
            environment.delenv(name, raising=False)
        environment.setenv("HOME", str(place.home))
        daemon = Daemon(place)
        environment.setenv("FLAME_ENDPOINT", daemon.uri)
        forget_the_shared_connection()
        yield daemon
        forget_the_shared_connection()
        daemon.stop()


@pytest.fixture
def echo_app(instance: Daemon) -> Iterator[str]:
    """The echo service as an application, for one test."""
    name = echo.register()
    yield name
    for session in flamepy.list_sessions():
        if session.application == name:
            wait_until(functools.partial(has_closed, session), f"{session} can be closed")
    flamepy.unregister_application(name)


class NewEcho(Protocol):
    """Makes sessions of the echo service."""

    def __call__(self, **attributes: Any) -> flamepy.Session: ...


@pytest.fixture
def new_session(echo_app: str) -> NewEcho:
    """Makes sessions of the echo service; they are closed when the test is over."""
    return functools.partial(flamepy.create_session, echo_app)


@pytest.fixture
def session(new_session: NewEcho) -> flamepy.Session:
    """A session with all defaults."""
    return new_session()
