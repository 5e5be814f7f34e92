"""Carries connections across the wall of a user's sandbox, and runs a program as long as it does.

relay.py LISTEN=CONNECT... -- PROGRAM ARGUMENT...

An end is a port of 127.0.0.1 or the path of a Unix socket. A sandbox has a network of its own; the sockets are in a
folder that both sides see.
"""

import asyncio
import contextlib
import errno
import os
import signal
import stat
import sys


async def carry(reader, writer):
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def connect(end):
    if end.isdigit():
        return await asyncio.open_connection("127.0.0.1", int(end))
    with pinned(end) as path:
        return await asyncio.open_unix_connection(path)


@contextlib.contextmanager
def pinned(end):
    """A path that leads to this very socket, whatever comes into its place: the other side may write in the folder, and
    would have us follow a link to where it cannot go itself."""
    number = os.open(end, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise OSError(errno.ENOTSOCK, "not a socket", end)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def carrier(end):
    async def accepted(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(OSError):
            far_reader, far_writer = await connect(end)
            with contextlib.closing(far_writer):
                # A reset of one side ends both at once: the other would wait for an answer for ever.
                await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    return accepted


async def listen(pairs):
    for pair in pairs:
        end, _, far = pair.rpartition("=")
        if end.isdigit():
            await asyncio.start_server(carrier(far), "127.0.0.1", int(end))
        else:
            await asyncio.start_unix_server(carrier(far), end)


async def run(pairs, program, started=lambda child: None):
    """The program's exit status; it is asked to end when we are. `started` is told its process id."""
    await listen(pairs)
    child = await asyncio.create_subprocess_exec(*program)
    started(child.pid)

    def end():
        with contextlib.suppress(ProcessLookupError):
            child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return await child.wait()


def split(arguments):
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    status = asyncio.run(run(*split(sys.argv[1:])))
    sys.exit(status if status >= 0 else 128 - status)
