"""The first program in a user's sandbox: brings the notebooks, limits memory and files, runs the user's server.

inside.py LIMIT_MB LISTEN=CONNECT... -- PROGRAM ARGUMENT...
"""

import asyncio
import hashlib
import json
import os
import pathlib
import resource
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import relay  # noqa: E402

NOTEBOOKS = pathlib.Path("/run/tidemart/notebooks")
LOOK_S = 0.25
# Between being told that it ends and its end.
GRACE_S = 3
# Of one file: against a loop that writes. A disk has no bound for each user.
FILE_BYTES = 2 << 30
# Processes and threads: of the sandbox, before Linux 5.14 of the whole account.
TASKS = 4096


def bring(home):
    """Copies the notebooks to where they are missing or as they were brought, never over what the user changed."""
    kept = home / ".local/share/tidemart/notebooks.json"
    brought = remembered(kept)
    for source in sorted(path for path in NOTEBOOKS.rglob("*") if path.is_file()):
        name = str(source.relative_to(NOTEBOOKS))
        target, text = home / "notebooks" / name, source.read_bytes()
        mine = hashlib.sha256(text).hexdigest()
        if not os.path.lexists(target) or digest(target) in (mine, brought.get(name, mine)):
            replace(target, text)
            brought[name] = mine
    replace(kept, json.dumps(brought).encode())


def remembered(kept):
    try:
        brought = json.loads(kept.read_text()) if kept.is_file() else {}
    except ValueError:
        brought = {}
    return brought if isinstance(brought, dict) else {}


def digest(path):
    """None of what is no file: it is the user's."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace(path, content):
    """Whole or not at all, also where the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


def used(of):
    """Bytes of each process, and what lies in the folders that are memory; a file there that is mapped counts twice."""
    processes = {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                processes[int(folder.name)] = of(folder)
            except OSError:
                continue
    folders = 0
    for path in ["/tmp", "/dev/shm"]:
        room = os.statvfs(path)
        folders += (room.f_blocks - room.f_bfree) * room.f_frsize
    return processes, folders


def at_most(folder):
    """Bytes that are in no file on a disk. What processes share counts for each of them."""
    return kilobytes(folder / "status", ("RssAnon:", "RssShmem:"))


def share(folder):
    """The same with a part of what is shared; it costs a walk over all pages."""
    try:
        return kilobytes(folder / "smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
    except PermissionError:
        # A process can forbid it.
        return at_most(folder)


def kilobytes(file, names):
    lines = (line.split() for line in file.read_text().splitlines())
    return sum(int(words[1]) for words in lines if words and words[0] in names) << 10


async def watch(limit, needed):
    """Ends the largest process when all together are over the limit; a kernel says why (memory.py). Those without which
    the user has nothing are left."""
    while True:
        await asyncio.sleep(LOOK_S)
        for look in (at_most, share):
            processes, folders = used(look)
            if sum(processes.values()) + folders <= limit:
                break
        else:
            await end_largest({pid: size for pid, size in processes.items() if pid not in needed}, limit)


async def end_largest(processes, limit):
    largest = max(processes, key=processes.get, default=None)
    if largest is None:
        return
    print(f"over the memory limit of {limit >> 20} MB: ending process {largest}", file=sys.stderr, flush=True)
    for number, wait in [(signal.SIGUSR1, GRACE_S), (signal.SIGKILL, 0)]:
        try:
            os.kill(largest, number)
        except ProcessLookupError:
            return
        await gone(largest, wait)


async def gone(pid, limit):
    for _ in range(int(limit / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        if not os.path.exists(f"/proc/{pid}"):
            return


def lower(kind, limit):
    """No process gets it up again; one that was lower stays."""
    _, most = resource.getrlimit(kind)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(kind, (limit, limit))


async def main(limit, arguments):
    try:
        bring(pathlib.Path.home())
    except Exception as error:
        # Whatever is wrong with the user's files or the disk: the server is what it can be mended with.
        print(f"the notebooks are not brought: {error!r}", file=sys.stderr, flush=True)
    for kind, most in [
        (resource.RLIMIT_DATA, limit),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NPROC, TASKS),
    ]:
        lower(kind, most)
    # The sandbox's first process, and we.
    needed = {1, os.getpid()}
    watching = asyncio.create_task(watch(limit, needed))
    status = await relay.run(*relay.split(arguments), started=needed.add)
    watching.cancel()
    return status


if __name__ == "__main__":
    status = asyncio.run(main(int(sys.argv[1]) << 20, sys.argv[2:]))
    sys.exit(status if status >= 0 else 128 - status)
