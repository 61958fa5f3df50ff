# SPDX-License-Identifier: Apache-2.0
"""A component, made from text, that tries to reach out of its sandbox, and tells how it went.

The first byte of a task says how: p print the rest, s sleep for an hour, v tell the value of the first variable,
r read the file of that name in the first folder, w make it there, c connect to that port (two bytes) of this machine,
x exit the process.
Where the host refuses, the answer is `refused by error N`, N being WASI's number as a digit or letter from 0 on;
without a folder or variable it is `nothing there`.
"""

from __future__ import annotations

from tests.hearth.wasm.components import component

__all__ = ["visitor"]

_FILE_ERRORS = (
    "access would-block already bad-descriptor busy deadlock quota exist file-too-large illegal-byte-sequence"
    " in-progress interrupted invalid io is-directory loop too-many-links message-size name-too-long no-device"
    " no-entry no-lock insufficient-memory insufficient-space not-directory not-empty not-recoverable unsupported"
    " no-tty no-such-device overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device"
)
_SOCKET_ERRORS = (
    "unknown access-denied not-supported invalid-argument out-of-memory timeout concurrency-conflict not-in-progress"
    " would-block invalid-state new-socket-limit address-not-bindable address-in-use remote-unreachable"
    " connection-refused connection-reset connection-aborted datagram-too-large name-unresolvable"
    " temporary-resolver-failure permanent-resolver-failure"
)


_DESCRIPTOR_FLAGS = "read write file-integrity-sync data-integrity-sync requested-write-sync mutate-directory"


def _names(kind: str, names: str) -> str:
    """An enum or flags."""
    return f"({kind}" + "".join(f' "{name}"' for name in names.split()) + ")"


_IMPORTS = f"""
  (import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "error" (type $error_ (eq $error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $_stream-error (variant (case "last-operation-failed" (own $error_)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $_stream-error)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (export "output-stream" (type $output-stream_ (eq $output-stream)))
    (export "get-stdout" (func (result (own $output-stream_))))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "pollable" (type $pollable_ (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable_))))))
  (import "wasi:cli/exit@0.2.0" (instance $exiting (export "exit" (func (param "status" (result))))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $descriptor (sub resource)))
    (type $_error-code {_names("enum", _FILE_ERRORS)})
    (export "error-code" (type $error-code (eq $_error-code)))
    (type $_path-flags {_names("flags", "symlink-follow")})
    (export "path-flags" (type $path-flags (eq $_path-flags)))
    (type $_open-flags {_names("flags", "create directory exclusive truncate")})
    (export "open-flags" (type $open-flags (eq $_open-flags)))
    (type $_descriptor-flags {_names("flags", _DESCRIPTOR_FLAGS)})
    (export "descriptor-flags" (type $descriptor-flags (eq $_descriptor-flags)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error-code)))))
    (export "[method]descriptor.read" (func (param "self" (borrow $descriptor)) (param "length" u64)
      (param "offset" u64) (result (result (tuple (list u8) bool) (error $error-code)))))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (export "descriptor" (type $descriptor_ (eq $descriptor)))
    (export "get-directories" (func (result (list (tuple (own $descriptor_) string)))))))
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $_error-code {_names("enum", _SOCKET_ERRORS)})
    (export "error-code" (type (eq $_error-code)))
    (type $_family (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $_family)))
    (type $_v4 (record (field "port" u16) (field "address" (tuple u8 u8 u8 u8))))
    (export "ipv4-socket-address" (type $v4 (eq $_v4)))
    (type $_v6 (record (field "port" u16) (field "flow-info" u32)
      (field "address" (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $v6 (eq $_v6)))
    (type $_address (variant (case "ipv4" $v4) (case "ipv6" $v6)))
    (export "ip-socket-address" (type (eq $_address)))))
  (alias export $network "network" (type $a-network))
  (alias export $network "error-code" (type $socket-error))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "ip-socket-address" (type $address))
  (import "wasi:sockets/instance-network@0.2.0" (instance $the-network
    (export "network" (type $network_ (eq $a-network)))
    (export "instance-network" (func (result (own $network_))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp
    (export "network" (type $network_ (eq $a-network)))
    (export "error-code" (type $error-code_ (eq $socket-error)))
    (export "ip-socket-address" (type $address_ (eq $address)))
    (export "tcp-socket" (type $tcp-socket (sub resource)))
    (export "[method]tcp-socket.start-connect" (func (param "self" (borrow $tcp-socket))
      (param "network" (borrow $network_)) (param "remote-address" $address_)
      (result (result (error $error-code_)))))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $sockets
    (export "error-code" (type $error-code_ (eq $socket-error)))
    (export "ip-address-family" (type $family_ (eq $family)))
    (export "tcp-socket" (type $tcp-socket_ (eq $tcp-socket)))
    (export "create-tcp-socket" (func (param "address-family" $family_)
      (result (result (own $tcp-socket_) (error $error-code_)))))))"""

_FUNCTIONS = {  # name here: instance, name there, core signature, whether it needs memory
    "block": ("poll", "[method]pollable.block", "(param i32)", False),
    "write": ("streams", "[method]output-stream.blocking-write-and-flush", "(param i32 i32 i32 i32)", True),
    "exit": ("exiting", "exit", "(param i32)", False),
    "stdout": ("stdout", "get-stdout", "(result i32)", False),
    "timer": ("clock", "subscribe-duration", "(param i64) (result i32)", False),
    "environment": ("environment", "get-environment", "(param i32)", True),
    "open": ("files", "[method]descriptor.open-at", "(param i32 i32 i32 i32 i32 i32 i32)", True),
    "read": ("files", "[method]descriptor.read", "(param i32 i64 i64 i32)", True),
    "folders": ("preopens", "get-directories", "(param i32)", True),
    "network": ("the-network", "instance-network", "(result i32)", False),
    "socket": ("sockets", "create-tcp-socket", "(param i32 i32)", True),
    "connect": ("tcp", "[method]tcp-socket.start-connect", f"(param{15 * ' i32'})", True),
}

# Lowered functions need a memory before there is a module with the code, so this one has it, for both.
_LIBC = """
  (core module $Libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (global.get $next) (local.get $size)))
      (i32.sub (global.get $next) (local.get $size))))
  (core instance $libc (instantiate $Libc))"""

_CORE_IMPORTS = '(import "host" "memory" (memory 2)) (export "memory" (memory 0))' + "".join(
    f'(import "host" "{name}" (func ${name} {signature}))' for name, (_, _, signature, _) in _FUNCTIONS.items()
)

_DATA = """
    (data (i32.const 256) "refused by error ?nothing there")
    (func $refused (param $error i32) (result i32)
      (i32.store8 offset=17 (i32.const 256) (i32.add (local.get $error)
        (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $error) (i32.const 10)))))
      (call $output (i32.const 1) (i32.const 256) (i32.const 18)))
    (func $nothing (result i32) (call $output (i32.const 1) (i32.const 274) (i32.const 13)))
    (func $open-in-first (param $at i32) (param $size i32) (param $how i32) (param $flags i32) (result i32)
      (call $folders (i32.const 512))
      (if (i32.eqz (i32.load (i32.const 516))) (then (return (call $nothing))))
      (call $open (i32.load (i32.load (i32.const 512))) (i32.const 0) (local.get $at) (local.get $size)
        (local.get $how) (local.get $flags) (i32.const 520))
      (if (i32.load8_u (i32.const 520)) (then (return (call $refused (i32.load8_u (i32.const 524))))))
      (i32.const 0))"""

_ACT = """
      (local $rest i32) (local $result i32)
      (local.set $rest (i32.add (local.get $at) (i32.const 1)))
      (local.set $size (i32.sub (local.get $size) (i32.const 1)))
      (if (call $is (local.get $at) (i32.const 112)) (then  ;; p
        (call $write (call $stdout) (local.get $rest) (local.get $size) (i32.const 512))
        (return (call $output (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (call $is (local.get $at) (i32.const 115)) (then (call $block (call $timer (i64.const 3600000000000)))))  ;; s
      (if (call $is (local.get $at) (i32.const 120)) (then (call $exit (i32.const 1))))  ;; x
      (if (call $is (local.get $at) (i32.const 118)) (then  ;; v
        (call $environment (i32.const 512))
        (if (i32.eqz (i32.load (i32.const 516))) (then (return (call $nothing))))
        (local.set $rest (i32.load (i32.const 512)))
        (return (call $output (i32.const 1)
          (i32.load offset=8 (local.get $rest)) (i32.load offset=12 (local.get $rest))))))
      (if (call $is (local.get $at) (i32.const 114)) (then  ;; r
        (local.set $result (call $open-in-first (local.get $rest) (local.get $size) (i32.const 0) (i32.const 1)))
        (if (local.get $result) (then (return (local.get $result))))
        (call $read (i32.load (i32.const 524)) (i64.const 1000) (i64.const 0) (i32.const 540))
        (if (i32.load8_u (i32.const 540)) (then (return (call $refused (i32.load8_u (i32.const 544))))))
        (return (call $output (i32.const 1) (i32.load (i32.const 544)) (i32.load (i32.const 548))))))
      (if (call $is (local.get $at) (i32.const 119)) (then  ;; w
        (local.set $result (call $open-in-first (local.get $rest) (local.get $size) (i32.const 1) (i32.const 3)))
        (if (local.get $result) (then (return (local.get $result))))
        (return (call $output (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (call $is (local.get $at) (i32.const 99)) (then  ;; c
        (call $socket (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $refused (i32.load8_u (i32.const 516))))))
        (call $connect (i32.load (i32.const 516)) (call $network) (i32.const 0) (i32.load16_u (local.get $rest))
          (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $refused (i32.load8_u (i32.const 513))))))
        (return (call $output (i32.const 0) (i32.const 0) (i32.const 0)))))
      unreachable"""


def visitor(before: str = "") -> str:
    """The visitor; `before` stands before its imports."""
    options = '(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))'
    lowered = "".join(
        f'\n  (core func ${name} (canon lower (func ${instance} "{there}") {options if needs_memory else ""}))'
        for name, (instance, there, _, needs_memory) in _FUNCTIONS.items()
    )
    host = (
        '(core instance $host (export "memory" (memory $libc "memory"))'
        + "".join(f' (export "{name}" (func ${name}))' for name in _FUNCTIONS)
        + ")"
    )
    return component(_ACT, before=before + _IMPORTS + _LIBC + lowered + host, core=_CORE_IMPORTS + _DATA)
