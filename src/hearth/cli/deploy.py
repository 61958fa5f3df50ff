# SPDX-License-Identifier: Apache-2.0
"""`hearth app deploy`: from a program on the disk to an application, in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from flamepy.core.types import ApplicationAttributes, ApplicationSchema, Shim
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.app_text import application_lines, print_lines
from hearth.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deploy"]

_CHUNK_BYTES = 1 << 20
_DIGEST_CHARACTERS = 16  # of SHA-256: enough to tell the packages of one application apart


@dataclass(frozen=True)
class _Package:
    """What was packed. input_kind: executable-file, directory, or tar.gz for what was packed already."""

    file: IO[bytes]
    input_kind: str
    sha256: str


@click.command(
    epilog="Example: hearth app deploy --name census --application ./census --env LOG=debug --delay-release 60"
)
@click.option("--name", required=True, help="The application's name.")
@click.option(
    "--application",
    "path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="A folder, an executable file, or a .tar.gz.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be registered; store and register nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["summary", "yaml", "json"]),
    default="summary",
    show_default=True,
    help="What is printed; yaml is a file for `hearth app register`.",
)
@click.option(
    "--shim", type=click.Choice(["host", "wasm"], case_sensitive=False), help="What runs it.  [default: host]"
)
@click.option("--image")
@click.option("--description")
@click.option("--label", "labels", multiple=True, help="May be given several times.")
@click.option("--command", help="What starts it, if the package does not tell.")
@click.option("--argument", "arguments", multiple=True, help="Of the command; may be given several times.")
@click.option("--env", "environments", multiple=True, metavar="KEY=VALUE", help="May be given several times.")
@click.option("--working-directory", help="An absolute path.  [default: a fresh folder for each instance]")
@click.option("--max-instances", type=click.IntRange(min=0))
@click.option("--delay-release", type=click.IntRange(min=0), metavar="SECONDS", help="How long an idle instance stays.")
@click.option("--installer", help="How it is installed: python or binary.  [default: as the package tells]")
@click.option("--schema-input", metavar="JSON", help="JSON Schema, or @FILE.")
@click.option("--schema-output", metavar="JSON", help="JSON Schema, or @FILE.")
@click.option("--schema-common-data", metavar="JSON", help="JSON Schema, or @FILE.")
@uri_option
@json_option
def deploy(
    name: str, path: Path, *, dry_run: bool, output: str, uri: str | None, as_json: bool, **options: Any
) -> None:
    """Pack a program, store the package, and register it as an application.

    The package is stored under a name that tells its content: in the package.storage of ~/.flame/flame.yaml, a
    file:// folder or an http(s):// server that takes PUT, else in a folder of your own. How it is installed and
    started is found out from it: of a Python project the script named like the application, the only script, or
    a module with a __main__.py; of any other folder bin/NAME, or the single program in bin or at the top. Options
    go before what was found out.
    """
    attributes = _attributes_of(options)
    with _explained(path), _packed(name, path) as package:
        key = f"{name}/pkg/{name}-{package.sha256[:_DIGEST_CHARACTERS]}.tar.gz"
        attributes = _completed(attributes, name, path, package)
        url = _store(key, package.file, dry_run=dry_run)
        attributes = replace(attributes, url=url)
    if not dry_run:
        with open_connection(uri) as connection:
            connection.register_application(name, attributes)
    found = {
        "name": name,
        "input_kind": package.input_kind,
        "installer": attributes.installer,
        "command": attributes.command,
        "arguments": attributes.arguments,
        "object_key": key,
        "url": url,
        "sha256": package.sha256,
        "dry_run": dry_run,
        "application": _json_of(attributes),
    }
    _print(found, attributes, "json" if as_json else output)


# -- options


def _attributes_of(options: dict[str, Any]) -> ApplicationAttributes:
    """What the options say, None where they say nothing."""
    schema = {
        part: _text_or_file(f"--schema-{part.replace('_', '-')}", options.pop(f"schema_{part}"))
        for part in ("input", "output", "common_data")
    }
    shim = options.pop("shim")
    return ApplicationAttributes(
        shim=Shim[shim.upper()] if shim else Shim.HOST,
        labels=list(options.pop("labels")) or None,
        arguments=list(options.pop("arguments")) or None,
        environments=dict(map(_variable, options.pop("environments"))) or None,
        schema=ApplicationSchema(**schema) if any(schema.values()) else None,
        **options,
    )


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--env")
    return name, value


def _text_or_file(option: str, text: str | None) -> str | None:
    if text is None or not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(
            f"{text[1:]}: {getattr(error, 'strerror', None) or error}", param_hint=option
        ) from None


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What is wrong with the program or the store, as an error for people."""
    from flamepy.core.types import FlameError
    from hearth.installers.failure import InstallFailed

    try:
        yield
    except FlameError as error:
        raise click.ClickException(error.message) from error
    except InstallFailed as error:
        raise click.ClickException(f"{path}: {error}") from error


# -- the package


@contextlib.contextmanager
def _packed(name: str, path: Path) -> Iterator[_Package]:
    """The package of what lies at path, open for the time of the block. The name is checked first."""
    from flamepy.core.config import FlameContext
    from flamepy.core.packaging import pack
    from hearth.engine.applications import check_name

    check_name(name)
    with tempfile.TemporaryFile() as file:
        if path.name.endswith((".tar.gz", ".tgz")):
            kind = "tar.gz"
            with path.open("rb") as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    file.write(chunk)
        elif path.is_dir():
            kind = "directory"
            pack(path, file, FlameContext().package_excludes)
        elif os.access(path, os.X_OK):
            kind = "executable-file"
            pack(path, file)
        else:
            told = f"{path} is no folder, no .tar.gz, and not executable; if it is a program: chmod +x {path}"
            raise click.ClickException(told)
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        file.seek(0)
        yield _Package(file, kind, digest.hexdigest())


def _completed(attributes: ApplicationAttributes, name: str, path: Path, package: _Package) -> ApplicationAttributes:
    """With installer, command and arguments as the package tells, where the options do not."""
    from hearth.installers.archive import unpack
    from hearth.installers.start_command import find_start_command, installer_for

    if package.input_kind == "executable-file":
        installer, command, arguments = "binary", path.name, attributes.arguments
    else:
        # Unpacked, not looked at where it lies: the archive is what will be installed, and is checked by that.
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "source"
            unpack(package.file, path.name if package.input_kind == "tar.gz" else "package.tar.gz", root)
            installer = installer_for(root)
            command, arguments = attributes.command or "", attributes.arguments
            if not command:
                start = find_start_command(root, name)
                command, arguments = start.command, [*start.arguments, *(arguments or ())] or None
        package.file.seek(0)
    return replace(
        attributes,
        installer=attributes.installer or installer,
        command=attributes.command or command,
        arguments=arguments,
    )


def _store(key: str, file: IO[bytes], *, dry_run: bool) -> str:
    """The url of the package, which is there unless dry_run.

    There is no object cache yet. Without a configured storage it goes to a folder of the user's: what is
    registered there lasts as long as the user keeps it, and the instance, which is the user's own, can read it.
    """
    from flamepy.core.config import FlameContext
    from flamepy.core.package_store import package_url, store_package

    package = FlameContext().package
    if package is not None:
        storage = package.storage
    else:
        folder = _own_folder()
        if not dry_run:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        storage = folder.as_uri()
    return package_url(storage, key) if dry_run else store_package(storage, key, file)


def _own_folder() -> Path:
    """``$XDG_STATE_HOME/hearth/packages``, or ``~/.local/state/hearth/packages``."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    return (Path(configured) if os.path.isabs(configured) else Path.home() / ".local/state") / "hearth/packages"


# -- output


def _json_of(attributes: ApplicationAttributes) -> dict[str, Any]:
    return asdict(attributes) | {"shim": attributes.shim.name.lower() if attributes.shim is not None else None}


def _print(found: dict[str, Any], attributes: ApplicationAttributes, output: str) -> None:
    if output == "json":
        print_json(found)
    elif output == "yaml":
        import yaml

        from hearth.cli.app_file import application_document

        click.echo(yaml.safe_dump(application_document(found["name"], attributes), sort_keys=False), nl=False)
    else:
        done = "would be deployed; nothing was stored or registered" if found["dry_run"] else "was deployed"
        click.echo(f"Application {found['name']} {done}.")
        more = [("Input", found["input_kind"]), ("Object Key", found["object_key"]), ("SHA-256", found["sha256"])]
        print_lines([*application_lines(found["name"], attributes), *more])
