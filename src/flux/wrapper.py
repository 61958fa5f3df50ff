# SPDX-License-Identifier: Apache-2.0
"""The errors of the layer between Python and C, for programs that catch them; here there is no such layer."""

from flux.errors import InvalidArguments, MissingFunctionError, WrongNumArguments

__all__ = ["InvalidArguments", "MissingFunctionError", "WrongNumArguments"]
