# SPDX-License-Identifier: Apache-2.0
"""`hearth up`: run an instance."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from hearth.repeats import RepeatFilter
from hearth.rundir import default_rundir
from hearth.zygote.process import start_zygote

__all__ = ["up"]

_LEVELS = ["debug", "info", "warning", "error"]


@click.command(epilog="Example: hearth up --rundir /tmp/my-hearth")
@click.option("--rundir", type=click.Path(path_type=Path), help="Folder of the socket, local-0.")
@click.option(
    "--statedir",
    type=click.Path(path_type=Path),
    help="Folder of what outlives the instance; by default in the user's state folder, one for each rundir.",
)
@click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path),
    help="Configuration: a file of TOML, JSON or YAML, or a folder of *.toml.",
)
@click.option("--owner", type=int, hidden=True, help="End with this process, which must be our parent.")
@click.option(
    "--fork-server/--no-fork-server", default=True, help="Whether Python services are forked, not executed, to start."
)
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="What stderr tells.")
def up(
    rundir: Path | None,
    statedir: Path | None,
    configuration: Path | None,
    owner: int | None,
    fork_server: bool,
    log_level: str,
) -> None:
    """Run an instance in the foreground until SIGTERM or Ctrl-C.

    The first line on stdout is `ready URI`; give that URI to clients as FLAME_ENDPOINT or FLUX_URI. Started again with
    the same folders it is the same instance: its sessions and tasks are there, and clients go on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RepeatFilter())
    logging.basicConfig(
        level=log_level.upper(), handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    zygote = start_zygote() if fork_server else None
    from hearth.daemon import serve  # only now: it takes as long to load as the fork server does beside it

    try:
        serve(
            (rundir or default_rundir()).absolute(),
            statedir and statedir.absolute(),
            owner,
            configuration and configuration.absolute(),
            zygote,
        )
    except (FileExistsError, NotADirectoryError) as error:
        raise click.ClickException(f"{error.filename} is not a folder; choose another one") from error
    finally:
        if zygote is not None:
            zygote.end()  # the instance did, if it got so far
