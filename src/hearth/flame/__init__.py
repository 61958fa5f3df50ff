# SPDX-License-Identifier: Apache-2.0
"""The `flame` service: the engine and the provider behind the message plane.

`service` is the frame that every part hangs on; the parts are the topics: `control` (applications
and sessions), `results` (submissions and result streams), `tasks` (looking at tasks), `executors`.
None of them decides anything: they decode, ask the engine, and carry out what it wants done.
"""
