# SPDX-License-Identifier: Apache-2.0
"""The built-in applications, each a service program of its own."""
