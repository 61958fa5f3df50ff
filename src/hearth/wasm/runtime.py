# SPDX-License-Identifier: Apache-2.0
"""A compiled component, and instances of it: each with a memory of its own and no more rights than it was granted."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from wasmtime import Config, Engine, Store, WasiConfig, WasmtimeError, wat2wasm
from wasmtime.component import Component, Instance, Linker

from hearth.wasm.adapter import outer_text
from hearth.wasm.binary import COMPONENT_HEADER, MODULE_HEADER, NotReadable, NotWrappable, hollow, imports_of, wrap
from hearth.wasm.calls import AdapterCalls, ValueCalls
from hearth.wasm.interface import interface_of
from hearth.wasm.time_limit import TimeLimit

if TYPE_CHECKING:
    from hearth.wasm.calls import Calls
    from hearth.wasm.interface import Context, Interface
    from hearth.wasm.settings import Settings

__all__ = ["Live", "Runtime", "trap_text"]


class Live:
    """One instance. After a WasmtimeError it is dead, and only `close` is of use."""

    def __init__(self, store: Store, calls: Calls, limit: TimeLimit) -> None:
        self._store = store
        self._calls = calls
        self._limit = limit

    def call(self, name: str, context: Context, *inputs: bytes | None) -> bytes | None:
        """Call one of the three functions. Raises ServiceFailure, an error of its own, or WasmtimeError, a trap."""
        with self._limit.on(self._store):
            return self._calls.call(self._store, name, context, *inputs)

    def close(self) -> None:
        """Give back its memory."""
        self._store.close()


class Runtime:
    """Compiles a component once, binary or text; a second process finds it in wasmtime's cache.

    arguments are what the component sees as its command line. Raises NotReadable, InterfaceError, WasmtimeError.
    """

    def __init__(self, source: bytes, settings: Settings, arguments: list[str]) -> None:
        self._settings = settings
        self._arguments = arguments
        self._engine = Engine(_configuration())
        self._linker = Linker(self._engine)
        self._linker.add_wasip2()
        binary = source if source.startswith(b"\0asm") else bytes(wat2wasm(source))
        if not binary.startswith(COMPONENT_HEADER):
            what = "a core module" if binary.startswith(MODULE_HEADER) else "WebAssembly of another version"
            raise NotReadable(f"it is {what}, no component; `wasm-tools component new` makes one of a module")
        self._interface = interface_of(Component(self._engine, hollow(binary)), self._engine)
        self._calls: type[AdapterCalls | ValueCalls]
        try:
            self._component = Component(self._engine, _with_adapter(binary, self._interface))
            self._calls = AdapterCalls
        except (NotWrappable, WasmtimeError) as reason:
            self._component = Component(self._engine, binary)  # raises if it is the component that is wrong
            self._calls = ValueCalls
            sys.stderr.write(f"many bytes will take long, 1 to 2 s a MiB there and back: {reason}\n")
        self._limit = TimeLimit(self._engine, settings.timeout_s)

    @property
    def is_quick(self) -> bool:
        """Whether bytes go through the adapter, in one piece."""
        return self._calls is AdapterCalls

    def close(self) -> None:
        """Make no more instances, and call none."""
        self._limit.close()

    def instantiate(self) -> Live:
        """A fresh instance. Raises WasmtimeError if it imports what we do not have, or exceeds its limits."""
        store = Store(self._engine)
        store.set_limits(memory_size=self._settings.memory)
        store.set_wasi(self._grants())
        with self._limit.on(store):
            instance: Instance = self._linker.instantiate(store, self._component)
        return Live(store, self._calls(self._interface, instance, store), self._limit)

    def _grants(self) -> WasiConfig:
        """Its output goes where ours goes. No network: wasmtime's default, which nothing here changes."""
        wasi = WasiConfig()
        wasi.argv = self._arguments
        wasi.env = self._settings.variables
        wasi.inherit_stdout()
        wasi.inherit_stderr()
        for folder in self._settings.folders:
            if not os.path.isdir(folder.host):
                raise NotADirectoryError(f"{folder.host} of HEARTH_WASM_DIRS is not a folder")
            wasi.preopen_dir(folder.host, folder.guest, folder.is_writable)
        return wasi


def _configuration() -> Config:
    config = Config()
    config.epoch_interruption = True
    try:
        config.cache = True
    except WasmtimeError as error:
        sys.stderr.write(f"components are compiled for each process anew: {error}\n")
    return config


def _with_adapter(binary: bytes, interface: Interface) -> bytes:
    imports = imports_of(binary)
    return wrap(bytes(wat2wasm(outer_text(interface, imports.instances))), imports, binary)


def trap_text(trap: WasmtimeError, settings: Settings) -> str:
    """Why, then where in the component. wasmtime tells it the other way round."""
    place, _, causes = str(trap).partition("\n\nCaused by:\n")
    if "payload_exceeds_HEARTH_WASM_MEMORY" in place:
        why = f"the data of this task, as base64, exceeds HEARTH_WASM_MEMORY, {settings.memory} bytes"
    elif "wasm trap: interrupt" in causes:
        why = f"it took longer than HEARTH_WASM_TIMEOUT, {settings.timeout_s:g} s"
    else:
        why = "; ".join(re.findall(r"^\s*(?:\d+: )?(.+)$", causes or place, re.MULTILINE))
    frames = re.findall(r"^ +\d+: .*$", place, re.MULTILINE)
    return "\n".join([why, *frames])
