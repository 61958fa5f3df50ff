# SPDX-License-Identifier: Apache-2.0
"""Which instance a command talks to, and the connection to it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import click

from hearth.rundir import default_rundir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flamepy.core.client import Connection

__all__ = [
    "FLUX_FIRST",
    "bus_uri_option",
    "form_option",
    "json_option",
    "need_uri",
    "open_connection",
    "uri_option",
]

# flamepy is imported inside the functions: half of the start of a command that talks to the message plane only.

_FLAME_FIRST: Final = ("FLAME_ENDPOINT", "FLUX_URI")
FLUX_FIRST: Final = ("FLUX_URI", "FLAME_ENDPOINT")

_WHERE: Final = (
    "The instance, as `hearth up` prints it. [default: {}, {}, ~/.flame/flame.yaml, the instance that `hearth up` runs]"
)

uri_option = click.option("--uri", metavar="URI", help=_WHERE.format(*_FLAME_FIRST))
bus_uri_option = click.option("--uri", metavar="URI", help=_WHERE.format(*FLUX_FIRST))
"""For commands that talk to the message plane only."""
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def form_option(*forms: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``-o FORM``, table if not said, beside `json_option`; the command takes it as form."""
    return click.option(
        "-o", "--output", "form", type=click.Choice(["table", *forms, "json"]), default="table", show_default=True,
        help="What form the answer has.",
    )  # fmt: skip


def _find_uri(given: str | None, variables: tuple[str, str] = _FLAME_FIRST) -> str | None:
    """The address: as given, else from the environment, ~/.flame/flame.yaml, or a plain `hearth up`; else None.

    Raises ClickException if the file is there and wrong.
    """
    named = given or os.environ.get(variables[0]) or os.environ.get(variables[1])
    return named or _configured_uri() or _default_uri()


def _configured_uri() -> str | None:
    from flamepy.core.config import FlameContext
    from flamepy.core.types import FlameError

    try:
        return FlameContext().endpoint
    except FlameError as error:
        raise click.ClickException(error.message) from error


def _default_uri() -> str | None:
    """The socket of a plain `hearth up`. Only our own: in a shared folder anyone could have put one there."""
    path = default_rundir() / "local-0"
    try:
        is_ours = path.is_socket() and path.stat().st_uid == os.getuid()
    except OSError:
        return None
    return f"local://{path}" if is_ours else None


def need_uri(given: str | None, variables: tuple[str, str] = _FLAME_FIRST) -> str:
    """The address. Raises ClickException if nothing names one."""
    uri = _find_uri(given, variables)
    if uri is None:
        raise click.ClickException("no instance is running; start one: hearth up")
    return uri


@contextlib.contextmanager
def open_connection(given: str | None, *, may_embed: bool = False) -> Iterator[Connection]:
    """A connection to the instance; with may_embed to a private one if there is none.

    Raises ClickException, also for any FlameError from within the block: the message is all that people need.
    """
    from flamepy.core.client import ConnectionInstance, connect
    from flamepy.core.types import FlameError

    try:
        uri = _find_uri(given) if may_embed else need_uri(given)
        # Who sits before it wants to know at once that the instance is gone, unless he has said otherwise.
        patience = None if "FLAME_RECONNECT_TIMEOUT" in os.environ else 0
        found = connect(uri, reconnect_timeout=patience) if uri else ConnectionInstance.instance()
        with contextlib.closing(found) as connection:
            yield connection
    except FlameError as error:
        kind = click.UsageError if isinstance(error.__cause__, UnicodeEncodeError) else click.ClickException
        raise kind(error.message) from error
