# SPDX-License-Identifier: Apache-2.0
"""What an executor's process runs for an application that is a WebAssembly component."""
