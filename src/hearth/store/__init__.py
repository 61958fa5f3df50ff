# SPDX-License-Identifier: Apache-2.0
"""The engine's state on disk: applications, sessions and tasks, so that nothing acknowledged is lost.

`schema` has the tables and how older ones become today's, `rows` turns what the engine keeps into rows and back,
`database` writes and reads them, `writer` does so on a thread of its own, one transaction a batch.
"""
