# SPDX-License-Identifier: Apache-2.0
"""The fork server: a small process that has imported what executors need, and forks one for each request.

A new interpreter takes a tenth of a second to import the SDK; a fork of one that has takes two milliseconds. It is a
process of its own, with one thread, so that a fork is safe and cheap (docs/decisions/009-fork-server.md).
"""
