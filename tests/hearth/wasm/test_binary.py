# SPDX-License-Identifier: Apache-2.0
"""Reading components as bytes: good ones whole, bad ones never worse than refused."""

from __future__ import annotations

import random

import pytest

from hearth.wasm.binary import COMPONENT_HEADER, MODULE_HEADER, NotReadable, NotWrappable, hollow, imports_of
from tests.hearth.wasm.components import actor
from tests.hearth.wasm.visitor import visitor


def compiled(source: str) -> bytes:
    from wasmtime import wat2wasm

    return bytes(wat2wasm(source))


def test_a_hollow_component_has_the_same_exports_and_less_in_it() -> None:
    from wasmtime import Engine
    from wasmtime.component import Component

    engine = Engine()
    whole = compiled(visitor())
    empty = hollow(whole)
    types = [set(Component(engine, binary).type.exports(engine)) for binary in (whole, empty)]
    assert types == [{"component:flame/service"}] * 2
    assert len(empty) < len(whole)


def test_imports_are_found_in_their_order() -> None:
    names = imports_of(compiled(visitor())).instances
    assert (names[0], names[-1], len(names)) == ("wasi:io/error@0.2.0", "wasi:sockets/tcp-create-socket@0.2.0", 13)
    assert imports_of(compiled(actor())) == (b"", [])


@pytest.mark.parametrize(
    "source",
    [
        '(component (core module (func)) (import "a" (instance)))',
        '(component (import "f" (func)))',
        '(component (import "a" (instance $a (export "f" (func)))) (alias export $a "f" (func)))',
    ],
)
def test_what_would_change_the_meaning_of_indices_is_not_wrapped(source: str) -> None:
    with pytest.raises(NotWrappable):
        imports_of(compiled(source))


def test_every_beginning_of_a_component_is_read_or_refused() -> None:
    whole = compiled(visitor())
    for size in range(len(COMPONENT_HEADER), len(whole)):
        for read in (hollow, imports_of):
            try:
                read(whole[:size])  # it may end between two sections
            except NotReadable as error:
                assert "left" in str(error) or "ends" in str(error)  # noqa: PT017 either is fine, another error is not


def test_a_changed_byte_is_read_or_refused() -> None:
    generator = random.Random(3)
    for source in (actor(), visitor()):
        whole = compiled(source)
        for _ in range(3000):
            changed = bytearray(whole)
            changed[generator.randrange(8, len(whole))] = generator.randrange(256)
            for read in (hollow, imports_of):
                try:
                    read(bytes(changed))
                except (NotReadable, NotWrappable):
                    continue


def test_a_module_with_a_huge_count_of_functions_is_refused_before_it_takes_memory() -> None:
    module = MODULE_HEADER + b"\x0a\x05\xff\xff\xff\xff\x0f"
    with pytest.raises(NotReadable, match="functions"):
        hollow(module)
