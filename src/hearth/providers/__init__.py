# SPDX-License-Identifier: Apache-2.0
"""Where executors come from."""
