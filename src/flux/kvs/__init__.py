# SPDX-License-Identifier: Apache-2.0
"""The instance's key-value store: values by key, directories as mappings, transactions, namespaces, watches."""

from flux.kvs.directory import KVSDir, get, get_dir, join, walk
from flux.kvs.lookup import exists, isdir
from flux.kvs.namespaces import namespace_create, namespace_list, namespace_remove
from flux.kvs.transaction import KVSTxn, commit, commit_async, put, put_mkdir, put_symlink, put_unlink
from flux.kvs.watch import KVSWatchFuture, kvs_watch_async

__all__ = [
    "KVSDir",
    "KVSTxn",
    "KVSWatchFuture",
    "commit",
    "commit_async",
    "exists",
    "get",
    "get_dir",
    "isdir",
    "join",
    "kvs_watch_async",
    "namespace_create",
    "namespace_list",
    "namespace_remove",
    "put",
    "put_mkdir",
    "put_symlink",
    "put_unlink",
    "walk",
]
