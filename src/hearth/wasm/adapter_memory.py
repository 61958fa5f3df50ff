# SPDX-License-Identifier: Apache-2.0
"""The adapter's first core module, in text: memory, all of which is free again after each call, and base64.

Addresses: 0 the 64 digits by their value, 128 values by digit, 512 the result of a call, 1024 on what it allocates.
"""

from __future__ import annotations

import string

__all__ = ["MEMORY_MODULE", "RESULT"]

RESULT = 512
"""Where the results of the component's functions are put; there is room for 512 bytes."""

_DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def _value(digit: int) -> str:
    """The value of a digit that $from points at, the n-th one. A call would cost as much as the rest of the loop."""
    return f"(i32.load8_u offset=128 (i32.load8_u offset={digit} (local.get $from)))"


def _digit(bits: int) -> str:
    """The digit for 6 of the 24 bits in $bits."""
    return f"(i32.load8_u (i32.and (i32.shr_u (local.get $bits) (i32.const {bits})) (i32.const 63)))"


MEMORY_MODULE = f"""
  (core module $Memory
    (memory (export "memory") 1)
    (data (i32.const 0) "{_DIGITS}")
    (global $next (mut i32) (i32.const 1024))
    (func $note_values (local $value i32)
      (loop $more
        (i32.store8 offset=128 (i32.load8_u (local.get $value)) (local.get $value))
        (local.set $value (i32.add (local.get $value) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $value) (i32.const 64)))))
    (start $note_values)

    ;; A backtrace shows this name.
    (func $payload_exceeds_HEARTH_WASM_MEMORY unreachable)

    (func $reserve (param $end i32) (local $pages i32)
      (if (i32.lt_u (local.get $end) (global.get $next)) (then (call $payload_exceeds_HEARTH_WASM_MEMORY)))
      (local.set $pages (i32.sub
        (i32.add (i32.shr_u (local.get $end) (i32.const 16)) (i32.const 1)) (memory.size)))
      (if (i32.gt_s (local.get $pages) (i32.const 0)) (then
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1))
          (then (call $payload_exceeds_HEARTH_WASM_MEMORY)))))
      (global.set $next (local.get $end)))

    ;; Nothing that we are handed grows: $old and $had are 0.
    (func $allocate (export "allocate") (param $old i32) (param $had i32) (param $align i32) (param $wanted i32)
        (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (call $reserve (i32.add (local.get $at) (local.get $wanted)))
      (local.get $at))
    (func (export "free") (param i32) (global.set $next (i32.const 1024)))

    ;; In place, since bytes are fewer than digits. Returns how many bytes.
    (func (export "decode") (param $at i32) (param $size i32) (result i32)
        (local $from i32) (local $to i32) (local $end i32) (local $bits i32)
      (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
      (local.set $from (local.get $at))
      (local.set $to (local.get $at))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      (local.set $size (i32.add
        (i32.eq (i32.load8_u (i32.sub (local.get $end) (i32.const 1))) (i32.const 61))
        (i32.eq (i32.load8_u (i32.sub (local.get $end) (i32.const 2))) (i32.const 61))))
      (loop $more
        (local.set $bits (i32.or
          (i32.or (i32.shl {_value(0)} (i32.const 18)) (i32.shl {_value(1)} (i32.const 12)))
          (i32.or (i32.shl {_value(2)} (i32.const 6)) {_value(3)})))
        (i32.store8 (local.get $to) (i32.shr_u (local.get $bits) (i32.const 16)))
        (i32.store8 offset=1 (local.get $to) (i32.shr_u (local.get $bits) (i32.const 8)))
        (i32.store8 offset=2 (local.get $to) (local.get $bits))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (local.set $to (i32.add (local.get $to) (i32.const 3)))
        (br_if $more (i32.lt_u (local.get $from) (local.get $end))))
      (i32.sub (i32.sub (local.get $to) (local.get $at)) (local.get $size)))

    ;; result<option<list<u8>>, …> at RESULT: the list becomes a string of digits. The last triple may read
    ;; two bytes beyond the list; the digits, which come behind it, are there already.
    (func (export "encode-output")
        (local $from i32) (local $to i32) (local $end i32) (local $size i32) (local $bits i32)
      (if (i32.or (i32.load8_u offset={RESULT} (i32.const 0)) (i32.eqz (i32.load8_u offset={RESULT + 4} (i32.const 0))))
        (then (return)))
      (local.set $from (i32.load offset={RESULT + 8} (i32.const 0)))
      (local.set $size (i32.load offset={RESULT + 12} (i32.const 0)))
      (local.set $end (i32.add (local.get $from) (local.get $size)))
      (local.set $size (i32.mul (i32.div_u (i32.add (local.get $size) (i32.const 2)) (i32.const 3)) (i32.const 4)))
      (local.set $to (call $allocate (i32.const 0) (i32.const 0) (i32.const 1) (local.get $size)))
      (i32.store offset={RESULT + 8} (i32.const 0) (local.get $to))
      (i32.store offset={RESULT + 12} (i32.const 0) (local.get $size))
      (block $done (loop $more
        (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
        (local.set $bits (i32.or (i32.load8_u offset=2 (local.get $from)) (i32.or
          (i32.shl (i32.load8_u offset=1 (local.get $from)) (i32.const 8))
          (i32.shl (i32.load8_u (local.get $from)) (i32.const 16)))))
        (i32.store8 (local.get $to) {_digit(18)})
        (i32.store8 offset=1 (local.get $to) {_digit(12)})
        (i32.store8 offset=2 (local.get $to) {_digit(6)})
        (i32.store8 offset=3 (local.get $to) {_digit(0)})
        (local.set $from (i32.add (local.get $from) (i32.const 3)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (br $more)))
      (if (i32.gt_u (local.get $from) (local.get $end))
        (then (i32.store8 (i32.sub (local.get $to) (i32.const 1)) (i32.const 61))))
      (if (i32.gt_u (i32.sub (local.get $from) (local.get $end)) (i32.const 1))
        (then (i32.store8 (i32.sub (local.get $to) (i32.const 2)) (i32.const 61)))))
  )"""
