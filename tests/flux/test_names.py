"""The names that programs for the C bindings use: constants, and parameters with their order and defaults."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flux import constants, kvs
from flux.core import watchers
from flux.core.handle import Flux
from flux.future import Future, FutureExt, WaitAllFuture
from flux.message import Message, MessageWatcher
from flux.rpc import RPC

if TYPE_CHECKING:
    from collections.abc import Callable

CONSTANTS = """
MSGTYPE REQUEST 1 RESPONSE 2 EVENT 4 CONTROL 8 ANY 15 MASK 15
MSGFLAG TOPIC 1 PAYLOAD 2 NORESPONSE 4 ROUTE 8 UPSTREAM 16 PRIVATE 32 STREAMING 64 USER1 128
- MATCHTAG_NONE 0 NODEID_ANY 4294967295 NODEID_UPSTREAM 4294967294 USERID_UNKNOWN 4294967295 EVENT_PRIVATE 1
- JOBID_ANY 18446744073709551615
ROLE NONE 0 OWNER 1 USER 2 LOCAL 4 ADMIN 8 ALL 4294967295
O TRACE 1 CLONE 2 NONBLOCK 4 MATCHDEBUG 8 TEST_NOSUB 16 RPCTRACK 32 NOREQUEUE 64
- RPC_NORESPONSE 1 RPC_STREAMING 2 RQ_HEAD 1 RQ_TAIL 2 REACTOR_NOWAIT 1 REACTOR_ONCE 2 POLLIN 1 POLLOUT 2 POLLERR 4
KVS READDIR 1 READLINK 2 WATCH 4 WAITCREATE 8 TREEOBJ 16 APPEND 32 WATCH_FULL 64 WATCH_UNIQ 128 WATCH_APPEND 256
KVS STREAM 512 WATCH_INITIAL_SENTINEL 1024 NO_MERGE 1 TXN_COMPACT 2 SYNC 4
JOB PRE_SIGNED 1 DEBUG 2 WAITABLE 4 NOVALIDATE 8 PRIORITY_MIN 0 PRIORITY_MAX 4294967295 URGENCY_MIN 0 URGENCY_HOLD 0
JOB URGENCY_DEFAULT 16 URGENCY_EXPEDITE 31 URGENCY_MAX 31 LOOKUP_JSON_DECODE 1 LOOKUP_CURRENT 2
JOB EVENT_WATCH_WAITCREATE 1 EVENT_WATCH_INITIAL_SENTINEL 2
JOB_STATE NEW 1 DEPEND 2 PRIORITY 4 SCHED 8 RUN 16 CLEANUP 32 INACTIVE 64 PENDING 14 RUNNING 48 ACTIVE 62
JOB_RESULT COMPLETED 1 FAILED 2 CANCELED 4 TIMEOUT 8
CONF INSTALLED 0 INTREE 1 AUTO 2
PLUGIN ARG_IN 0 ARG_OUT 1 ARG_REPLACE 2 RTLD_LAZY 1 RTLD_NOW 2 RTLD_GLOBAL 4 RTLD_DEEPBIND 8
SUBPROCESS INIT 0 RUNNING 1 EXITED 2 FAILED 3 STOPPED 4 FLAGS_STDIO_FALLTHROUGH 1 FLAGS_NO_SETPGRP 2
SUBPROCESS FLAGS_FORK_EXEC 4 FLAGS_LOCAL_UNBUF 8 FLAGS_WAITABLE 16 FLAGS_SIGN 32
"""
"""Group, or - for none, then names and values: of flux-core 0.88."""


def test_every_constant_of_the_c_headers_has_its_name_and_value() -> None:
    wanted: dict[str, int] = {}
    for line in CONSTANTS.strip().splitlines():
        group, *pairs = line.split()
        prefix = "FLUX_" if group == "-" else f"FLUX_{group}_"
        wanted |= {prefix + name: int(value) for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    there = {name: value for name, value in vars(constants).items() if name.startswith("FLUX_")}
    assert there == wanted


@pytest.mark.parametrize(
    ("called", "parameters"),
    [
        (Flux, "url=None flags=0 handle=None"),
        (Flux.add_watcher, "watcher"),
        (Flux.attr_get, "name"),
        (Flux.attr_remove, "name"),
        (Flux.attr_set, "name value"),
        (Flux.check_watcher_create, "callback args=None"),
        (Flux.conf_get, "key=None default=None update=False"),
        (Flux.del_watcher, "watcher"),
        (Flux.event_create, "topic payload=None"),
        (Flux.event_publish, "topic flags json_str"),
        (Flux.event_recv, "topic=None"),
        (Flux.event_send, "topic payload=None"),
        (Flux.event_subscribe, "topic"),
        (Flux.event_unsubscribe, "topic"),
        (Flux.fd_watcher_create, "fd_int callback events=7 args=None"),
        (Flux.idle_watcher_create, "callback args=None"),
        (Flux.log, "level fstring"),
        (
            Flux.msg_watcher_create,
            "callback type_mask=15 topic_glob=* args=None match_tag=0 rolemask=None",
        ),
        (Flux.prepare_watcher_create, "callback args=None"),
        (Flux.reactor_run, "reactor=None flags=0"),
        (Flux.reactor_stop, "reactor=None"),
        (Flux.reactor_stop_error, "reactor=None"),
        (Flux.recv, "type_mask=15 match_tag=0 topic_glob=None flags=0"),
        (Flux.respond, "message payload=None"),
        (Flux.respond_error, "message errnum text"),
        (Flux.rpc, "topic payload=None nodeid=4294967295 flags=0"),
        (Flux.send, "message flags=0"),
        (Flux.service_register, "name"),
        (Flux.service_unregister, "name"),
        (Flux.set_exception, "exception"),
        (Flux.signal_watcher_create, "signum callback args=None"),
        (Flux.timer_watcher_create, "after callback repeat=0.0 args=None"),
        (Future.then, "callback *args timeout=-1.0 **kwargs"),
        (Future.wait_for, "timeout=-1.0"),
        (FutureExt, "init_cb *args flux_handle=None **kwargs"),
        (FutureExt.fulfill, "result=None"),
        (FutureExt.fulfill_error, "errnum=2 errstr=None"),
        (Message, "type_id=1 handle=None"),
        (Message.from_event_encode, "topic payload=None"),
        (MessageWatcher, "flux_handle type_mask callback topic_glob=* match_tag=0 rolemask=None args=None"),
        (RPC, "flux_handle topic payload=None nodeid=4294967295 flags=0"),
        (WaitAllFuture, "children=None"),
        (WaitAllFuture.push, "child name=None"),
        (kvs.KVSDir, "flux_handle=None path=. handle=None namespace=None _kvstxn=None"),
        (kvs.KVSTxn, "flux_handle=None path=. namespace=None"),
        (kvs.commit, "flux_handle flags=0 namespace=None _kvstxn=None"),
        (kvs.commit_async, "flux_handle flags=0 namespace=None _kvstxn=None"),
        (kvs.exists, "flux_handle key namespace=None"),
        (kvs.get, "flux_handle key namespace=None _kvstxn=None"),
        (kvs.get_dir, "flux_handle key=. namespace=None _kvstxn=None"),
        (kvs.isdir, "flux_handle key namespace=None"),
        (kvs.namespace_create, "flux_handle namespace owner=-1 flags=0"),
        (kvs.namespace_list, "flux_handle"),
        (kvs.namespace_remove, "flux_handle namespace"),
        (kvs.put, "flux_handle key value raw=False _kvstxn=None"),
        (kvs.put_symlink, "flux_handle key target _kvstxn=None"),
        (kvs.walk, "directory topdown=False flux_handle=None namespace=None"),
        (watchers.FDWatcher, "flux_handle fd_int events callback args=None"),
        (watchers.SignalWatcher, "flux_handle signal_int callback args=None"),
        (watchers.TimerWatcher, "flux_handle after callback repeat=0.0 args=None"),
        (watchers.TimerWatcher.reset, "after=None repeat=None"),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_parameters_have_the_names_order_and_defaults_that_programs_rely_on(
    called: Callable[..., object], parameters: str
) -> None:
    found = [
        parameter
        for name, parameter in inspect.signature(called).parameters.items()
        if (name != "self" and parameter.kind is not parameter.KEYWORD_ONLY) or name in parameters
    ]  # what only a keyword can give, and upstream does not have, is ours to add
    assert (
        " ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in found).replace("'", "")
        == parameters
    )


@pytest.mark.parametrize(
    "name",
    [
        "constants.FLUX_NODEID_ANY",
        "core.handle.Flux",
        "core.watchers.TimerWatcher",
        "future.FutureExt",
        "message.MessageWatcher",
        "rpc.RPC",
        "util.encode_payload",
        "wrapper.InvalidArguments",
    ],
)
def test_import_flux_is_enough_to_name_what_a_handle_brings_along(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import flux; flux.{name}"], check=True)
