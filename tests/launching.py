"""Programs that begin with less than the test has, without a fork of the test's own process.

`subprocess` forks for ``user=``, ``group=``, ``extra_groups=`` and ``preexec_fn=`` (without them it
uses vfork, which runs no fork handlers). gRPC's fork handlers start threads in the child, which
then die of the file descriptors that Python closes there: of 300 programs that a process with a
gRPC server started so, 7 ended by SIGSEGV before they began
(https://github.com/grpc/grpc/blob/master/doc/fork_support.md). Every worker of the suite may have
such a server. So what is to be given up is given up by an interpreter that becomes the program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_AS_USER = """\
import os, sys
os.setgroups([])
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
_WITHOUT_FILES = """\
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
os.execv(sys.argv[1], sys.argv[1:])
"""


def as_user(uid: int | None, command: Sequence[str]) -> list[str]:
    """The command that runs a program as somebody else; only root can run it.

    Args:
        uid: As whom; None leaves the user as is.
        command: The program's path and its arguments.

    Returns:
        What to run; the process that it starts becomes the program.
    """
    if uid is None:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _AS_USER, str(uid), *command]


def without_files(command: Sequence[str]) -> list[str]:
    """The command that runs a program which may write pipes and sockets, but no byte into a file.

    Args:
        command: The program's path and its arguments.

    Returns:
        What to run; the process that it starts becomes the program.
    """
    return [sys.executable, "-I", "-S", "-c", _WITHOUT_FILES, *command]
