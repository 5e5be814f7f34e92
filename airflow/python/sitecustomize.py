"""What every Python process of Airflow does first.

Airflow's processes start others, and those their own; none of them may outlive the one that started it, whichever way
that one ended: a worker that lost its scheduler would finish its task, tell nobody, and never leave. The kernel ends it.

Their command lines stay what they are. `tidemart up` knows its processes by them, and a title would take that away.
"""

import ctypes
import os
import signal
import sys
import types

PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)
sys.modules["setproctitle"] = types.ModuleType("setproctitle")
sys.modules["setproctitle"].setproctitle = lambda title: None
sys.modules["setproctitle"].getproctitle = lambda: " ".join(sys.orig_argv)


def end_with(parent: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It has ended in between.
        os.kill(os.getpid(), signal.SIGKILL)


def before_fork() -> None:
    global forking
    forking = os.getpid()


forking = 0
os.register_at_fork(before=before_fork, after_in_child=lambda: end_with(forking))
