# SPDX-License-Identifier: Apache-2.0
"""Who gets the room of an instance: small pure functions over claims, which know no sessions or executors."""
