# SPDX-License-Identifier: Apache-2.0
"""Applications, sessions, tasks and executors: a deterministic state machine without I/O or clock."""
