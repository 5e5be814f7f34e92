"""The first program in a user's sandbox: brings the notebooks, limits the memory, runs the user's server.

inside.py LIMIT_MB LISTEN=CONNECT... -- PROGRAM ARGUMENT...
"""

import asyncio
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import relay  # noqa: E402

NOTEBOOKS = pathlib.Path("/run/tidemart/notebooks")
LOOK_S = 0.25
# Between being told that it ends and its end.
GRACE_S = 3
PAGE = os.sysconf("SC_PAGE_SIZE")


def bring(home):
    """Copies the notebooks to where they are missing or as they were brought, never over what the user changed."""
    kept = home / ".local/share/tidemart/notebooks.json"
    brought = json.loads(kept.read_text()) if kept.exists() else {}
    for source in sorted(NOTEBOOKS.rglob("*")):
        name = str(source.relative_to(NOTEBOOKS))
        target = home / "notebooks" / name
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists() or digest(target) == brought.get(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            brought[name] = digest(target)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(brought))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def used():
    """Bytes of each process that are nobody else's, and what lies in the folders that are memory."""
    processes = {}
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                _, resident, shared, *_ = map(int, (folder / "statm").read_text().split())
            except OSError:
                continue
            processes[int(folder.name)] = (resident - shared) * PAGE
    folders = 0
    for path in ["/tmp", "/dev/shm"]:
        room = os.statvfs(path)
        folders += (room.f_blocks - room.f_bfree) * room.f_frsize
    return processes, folders


async def watch(limit):
    """Ends the largest process when all together are over the limit; a kernel says why (memory.py)."""
    while True:
        await asyncio.sleep(LOOK_S)
        processes, folders = used()
        if sum(processes.values()) + folders <= limit:
            continue
        largest = max((pid for pid in processes if not needed(pid)), key=processes.get, default=None)
        if largest is None:
            continue
        print(f"over the memory limit of {limit >> 20} MB: ending process {largest}", file=sys.stderr, flush=True)
        for number, wait in [(signal.SIGUSR1, GRACE_S), (signal.SIGKILL, 0)]:
            try:
                os.kill(largest, number)
            except ProcessLookupError:
                break
            await gone(largest, wait)


def needed(pid):
    """Whether all that the user has would end with it."""
    try:
        line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        line = b""
    return pid in (1, os.getpid()) or b"jupyterhub-singleuser" in line


async def gone(pid, limit):
    for _ in range(int(limit / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        if not os.path.exists(f"/proc/{pid}"):
            return


async def main(limit, arguments):
    bring(pathlib.Path.home())
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watching = asyncio.create_task(watch(limit))
    status = await relay.run(*relay.split(arguments))
    watching.cancel()
    return status


if __name__ == "__main__":
    status = asyncio.run(main(int(sys.argv[1]) << 20, sys.argv[2:]))
    sys.exit(status if status >= 0 else 128 - status)
