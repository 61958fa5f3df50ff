# SPDX-License-Identifier: Apache-2.0
"""Installing applications: from `installer` and `url` to files on this machine, in a process of its own.

`python -m hearth.installers` is that process, `hearth.providers.preparation` starts it. So nothing that an
archive or a build does can hold up the daemon, and whatever takes too long is killed.
"""
