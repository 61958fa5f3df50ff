# SPDX-License-Identifier: Apache-2.0
"""The key-value store: a tree of small values, changed by atomic commits, looked up and watched by key."""
