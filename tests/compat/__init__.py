"""Upstream's acceptance list (§10), as programs for Flame see it: module-level helpers, default connection.

Upstream's own tests can be run against an instance, too; these are ours, and each row of the list is one test.
"""
