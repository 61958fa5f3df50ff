# SPDX-License-Identifier: Apache-2.0
"""The `hearth` command: nouns are loaded when they are used, so that --help and up start fast."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from hearth import __version__

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hearth")
def main() -> None:
    """Sessions of many short tasks on an addressable message bus."""


@main.command()
@click.option("--rundir", type=click.Path(path_type=Path), help="Folder of the socket, local-0.")
@click.option("--owner", type=int, hidden=True, help="End with this process, which must be our parent.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
def up(rundir: Path | None, owner: int | None, log_level: str) -> None:
    """Run an instance in the foreground until SIGTERM or Ctrl-C.

    The first line on stdout is `ready URI`; give that URI to clients as FLAME_ENDPOINT or FLUX_URI.

    Example: hearth up --rundir /tmp/my-hearth
    """
    from hearth.daemon import default_rundir, serve

    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        serve((rundir or default_rundir()).absolute(), owner)
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from error
