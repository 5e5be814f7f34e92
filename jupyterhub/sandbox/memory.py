"""Run by each kernel at its start: a kernel that goes over the user's memory limit says so and ends."""

import os
import resource
import signal
import sys
import time

from IPython import get_ipython

_LIMIT = (
    f"MemoryError: the limit of {resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20} MB for all that you run at once is "
    "reached, and this kernel ends. Read less at once (SELECT fewer columns or months, LIMIT), let the cluster add up, "
    "or stop other kernels; then restart this one."
)


def _end(*_):
    print(_LIMIT, file=sys.stderr, flush=True)
    # The message goes out in another thread.
    time.sleep(0.5)
    os._exit(137)


def _over(shell, kind, value, traceback, tb_offset=None):
    try:
        shell.showtraceback((kind, value, traceback), tb_offset=tb_offset)
    finally:
        _end()


signal.signal(signal.SIGUSR1, _end)
get_ipython().set_custom_exc((MemoryError,), _over)
