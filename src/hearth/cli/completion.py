# SPDX-License-Identifier: Apache-2.0
"""`hearth completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_VARIABLE = "_HEARTH_COMPLETE"  # where click looks by itself when it is called as hearth


@click.command(epilog="Example: hearth completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes the words of `hearth` in SHELL.

    Put it where the shell reads it when it starts: ~/.bashrc, ~/.zshrc, or ~/.config/fish/completions/hearth.fish.
    Bash has to be 4.4 or newer.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "hearth", _VARIABLE).source())
