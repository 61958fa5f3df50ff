# SPDX-License-Identifier: Apache-2.0
"""Components made from text, so that no toolchain is needed and no binary is kept.

The actor does what the first byte of a task says: e echo the rest, f fail with the rest, n no output, t trap,
l loop for ever, g grow its memory by 64 MiB and tell y or n, c tell how many tasks this instance had,
d tell the common data, v the fields of the context.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CURRENT", "FIRST", "NEWEST", "Version", "actor", "by_values", "component"]


@dataclass(frozen=True)
class Version:
    """How the interface spells its records: Flame has changed them."""

    session: tuple[str, ...]
    task: tuple[str, ...]
    has_messages: bool = True


CURRENT = Version(("session", "workspace"), ("task", "session", "workspace"))
FIRST = Version(("session-id",), ("task-id", "session-id"), has_messages=False)
NEWEST = Version(("workspace", "application", "session"), ("workspace", "application", "session", "task"))

_MEMORY = '(memory (export "memory") 2)'

_CORE = """
    (global $base (mut i32) (i32.const 4096))   ;; what an enter allocates stays: it is the common data
    (global $next (mut i32) (i32.const 4096))
    (global $count (mut i32) (i32.const 0))
    (global $common (mut i32) (i32.const 0))
    (global $common-size (mut i32) (i32.const 0))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32) (local $pages i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.set $pages (i32.sub (i32.add (i32.shr_u (global.get $next) (i32.const 16)) (i32.const 1)) (memory.size)))
      (if (i32.gt_s (local.get $pages) (i32.const 0)) (then
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then unreachable))))
      (local.get $at))
    (func (export "free") (param i32) (global.set $next (global.get $base)))
    (func $output (param $has i32) (param $at i32) (param $size i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store8 (i32.const 20) (local.get $has))
      (i32.store (i32.const 24) (local.get $at))
      (i32.store (i32.const 28) (local.get $size))
      (i32.const 16))
    (func $fail (param $at i32) (param $size i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store8 (i32.const 20) (i32.const 0))  ;; the code, where there is one
      (i32.store (i32.const 24) (local.get $at))
      (i32.store (i32.const 28) (local.get $size))
      (i32.const 16))
    (func $answer (param $byte i32) (result i32)
      (i32.store8 (i32.const 64) (local.get $byte))
      (call $output (i32.const 1) (i32.const 64) (i32.const 1)))
    (func $is (param $at i32) (param $verb i32) (result i32)
      (i32.eq (i32.load8_u (local.get $at)) (local.get $verb)))"""

_ACT = """
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (i32.eqz (local.get $size)) (then (return (call $output (local.get $has) (local.get $at) (i32.const 0)))))
      (if (call $is (local.get $at) (i32.const 101)) (then (return (call $output (i32.const 1)  ;; e
        (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $size) (i32.const 1))))))
      (if (call $is (local.get $at) (i32.const 102)) (then (return (call $fail  ;; f
        (i32.add (local.get $at) (i32.const 1)) (i32.sub (local.get $size) (i32.const 1))))))
      (if (call $is (local.get $at) (i32.const 110)) (then (return  ;; n
        (call $output (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (call $is (local.get $at) (i32.const 108)) (then (loop $for_ever (br $for_ever))))
      (if (call $is (local.get $at) (i32.const 103)) (then (return  ;; g
        (call $answer (select (i32.const 110) (i32.const 121)
          (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)))))))
      (if (call $is (local.get $at) (i32.const 99)) (then (return  ;; c
        (call $answer (i32.add (i32.const 48) (global.get $count))))))
      (if (call $is (local.get $at) (i32.const 100)) (then (return  ;; d
        (call $output (i32.const 1) (global.get $common) (global.get $common-size)))))
      (if (call $is (local.get $at) (i32.const 118)) (then (return {fields})))
      unreachable"""

_ENTER = """
      (global.set $common (local.get $at))
      (global.set $common-size (local.get $size))
      (global.set $base (global.get $next))
      (if (i32.eqz (local.get $size)) (then (return (call $output (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (call $is (local.get $at) (i32.const 102)) (then (return (call $fail (local.get $at) (local.get $size)))))
      (if (call $is (local.get $at) (i32.const 116)) (then unreachable))
      (call $output (i32.const 0) (i32.const 0) (i32.const 0))"""


def actor(version: Version = CURRENT) -> str:
    """The actor, in that version of the interface."""
    return component(_ACT.replace("{fields}", _joined(version.task)), _ENTER, version)


def by_values(source: str) -> str:
    """The same component, with an import where the adapter does not fit: its calls go value by value."""
    importing = '(component (core module (func)) (import "wasi:random/insecure-seed@0.2.0" (instance))'
    return source.replace("(component", importing, 1)


def _joined(fields: tuple[str, ...]) -> str:
    """Code that answers with the fields of a task's context, one behind the other, from 128 on."""
    text = "(block (result i32) (global.set $next (i32.const 128))"
    for index in range(len(fields)):
        at, size = f"(local.get {2 * index})", f"(local.get {2 * index + 1})"
        text += f"(memory.copy (global.get $next) {at} {size})"
        text += f"(global.set $next (i32.add (global.get $next) {size}))"
    return text + "(call $output (i32.const 1) (i32.const 128) (i32.sub (global.get $next) (i32.const 128))))"


def component(
    act: str, enter: str = _ENTER, version: Version = CURRENT, *, before: str = "", core: str = _MEMORY
) -> str:
    """A component whose tasks and sessions run that code: $has, $at and $size are the input, or the common data.

    before stands before everything else; if it defines a core instance $host, the module with the code can
    import from "host". core stands at the start of that module, and sees to its memory.
    """
    session, task = (" i32 i32" * len(fields) for fields in (version.session, version.task))
    host = '(with "host" (instance $host))' if "$host" in before else ""
    entering = '(param "ctx" $session-context) (result (result (error $flame-error)))'
    invoking = (
        '(param "ctx" $task-context) (param "input" (option (list u8)))'
        " (result (result (option (list u8)) (error $flame-error)))"
    )
    functions = {"enter": entering, "leave": entering, "invoke": invoking}
    exported = {"enter": "on-session-enter", "leave": "on-session-leave", "invoke": "on-task-invoke"}
    lifted = "".join(
        f"""
  (func ${name} {signature} (canon lift (core func $core "{name}") (memory (core memory $core "memory"))
    (realloc (core func $core "cabi_realloc")) (post-return (core func $core "free"))))"""
        for name, signature in functions.items()
    )
    types = _types(version)
    defined = "".join(f"\n  (type ${name} {text})" for name, text in types.items())
    taken = "".join(
        f'\n    (type $_{name} {text}) (import "type-{name}" (type ${name} (eq $_{name})))'
        for name, text in types.items()
    ) + "".join(f'\n    (import "{name}" (func ${name} {signature}))' for name, signature in functions.items())
    given = "".join(
        f'\n    (type $named-{name} {_of_exports(text)}) (export $out-{name} "{name}" (type $named-{name}))'
        for name, text in types.items()
    ) + "".join(
        f'\n    (export "{exported[name]}" (func ${name}) (func {_of_exports(signature)}))'
        for name, signature in functions.items()
    )
    handed = "".join(f' (with "type-{name}" (type ${name}))' for name in types) + "".join(
        f' (with "{name}" (func ${name}))' for name in functions
    )
    return f"""(component {before}
  (core module $Core {core} {_CORE}
    (func (export "enter") (param{session}) (param $has i32) (param $at i32) (param $size i32) (result i32) {enter})
    (func (export "leave") (param{session} i32 i32 i32) (result i32)
      (call $output (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (export "invoke") (param{task}) (param $has i32) (param $at i32) (param $size i32) (result i32) {act}))
  (core instance $core (instantiate $Core {host})){defined}{lifted}
  (component $Exports {taken} {given})
  (instance $service (instantiate $Exports{handed}))
  (export "component:flame/service" (instance $service)))"""


def _types(version: Version) -> dict[str, str]:
    """The exported types in their order: each may use those before it."""
    session = "".join(f' (field "{name}" string)' for name in version.session)
    task = "".join(f' (field "{name}" string)' for name in version.task)
    contexts = {
        "session-context": f'(record{session} (field "common-data" (option (list u8))))',
        "task-context": f"(record{task})",
    }
    if not version.has_messages:
        return {"flame-error": '(enum "internal")', **contexts}
    return {
        "flame-error-code": '(enum "internal")',
        "flame-error": '(record (field "code" $flame-error-code) (field "message" string))',
        **contexts,
    }


def _of_exports(signature: str) -> str:
    """The signature with the types as they are exported."""
    return signature.replace("$", "$out-")
