"""The hub's configuration: everything that changes from machine to machine is in settings.json beside this file."""

import hmac
import json
import os
import pathlib
import shutil
import sys
import time

from jupyterhub.auth import Authenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.utils import random_port
from tornado import web

HERE = pathlib.Path(__file__).resolve().parent
SETTINGS = json.loads((HERE / "settings.json").read_text())
DATA = pathlib.Path(SETTINGS["data"])
ENVIRONMENT = SETTINGS["environment"]
# So many wrong passwords for one name in so many seconds, and the name has to wait.
WRONG, WITHIN_S = 10, 60


class Accounts(Authenticator):
    """The users of the data folder's secrets.json and nobody else."""

    failures = {}

    async def authenticate(self, handler, data):
        name, password = data["username"], data["password"]
        recent = [at for at in self.failures.get(name, []) if at > time.monotonic() - WITHIN_S]
        if len(recent) >= WRONG:
            raise web.HTTPError(429, "Too many wrong passwords; wait a minute.")
        expected = SETTINGS["passwords"].get(name)
        # A stranger's password is compared, too: the answer takes as long.
        equal = hmac.compare_digest(password.encode(), (expected or "-").encode())
        if expected and equal:
            self.failures.pop(name, None)
            return name
        if expected:
            self.failures[name] = [*recent, time.monotonic()]
        return None


class Sandboxed(SimpleLocalProcessSpawner):
    """A user's server in namespaces of its own: it sees its user's files and processes, and of the network what
    relay.py carries. The hub and all servers are one account of the machine, so nothing else keeps users apart."""

    def user_env(self, env):
        env.update(USER=self.user.name, HOME=f"/home/{self.user.name}", SHELL="/bin/bash")
        return env

    def make_preexec_fn(self, name):
        """None: the other one makes a home folder below /tmp, and bwrap sees to the user's own."""

    def get_state(self):
        """Without the process: no server outlives the hub, and after a new start of the machine that number is another's."""
        return without_process(super().get_state())

    def load_state(self, state):
        super().load_state(without_process(state))

    async def start(self):
        self.port = random_port()
        folder = HERE / "users" / self.user.name
        shutil.rmtree(folder, ignore_errors=True)
        for sockets in ["sockets", "server"]:
            (folder / sockets).mkdir(parents=True, mode=0o700)
        (folder / "passwd").write_text(f"{self.user.name}:x:1000:1000::/home/{self.user.name}:/bin/bash\n")
        outside, inside = [f"{self.port}={folder}/server/socket"], [f"/run/server/socket={self.port}"]
        for name, port in SETTINGS["reach"].items():
            outside.append(f"{folder}/sockets/{name}={port}")
            inside.append(f"{port}=/run/sockets/{name}")
        python = [f"{ENVIRONMENT}/bin/python", "-I"]
        self.cmd = [
            # Ends with the hub, however that ends; all that it runs ends with it.
            *("setpriv", "--pdeathsig", "SIGKILL", "--"),
            *(*python, str(HERE / "sandbox/relay.py"), *outside, "--"),
            *(*self.wall(folder), "--"),
            *(*python, "/run/tidemart/inside.py", str(SETTINGS["memory_mb"]), *inside, "--"),
            "jupyterhub-singleuser",
        ]
        return await super().start()

    def wall(self, folder):
        """bwrap with what the user sees."""
        home = DATA / "home" / self.user.name
        home.mkdir(parents=True, exist_ok=True)
        wall = [SETTINGS["bwrap"], "--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"]
        wall += ["--uid", "1000", "--gid", "1000", "--hostname", self.user.name]
        wall += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        for path in map(pathlib.Path, ["/bin", "/lib", "/lib64", "/sbin"]):
            if path.is_symlink():
                wall += ["--symlink", os.readlink(path), str(path)]
            elif path.exists():
                wall += ["--ro-bind", str(path), str(path)]
        for file in [*(HERE / "sandbox/etc").iterdir(), folder / "passwd"]:
            wall += ["--ro-bind", str(file), f"/etc/{file.name}"]
        for path in ["/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts"]:
            wall += ["--ro-bind-try", path, path]
        for size, path in [(256, "/tmp"), (64, "/dev/shm"), (16, "/run/jupyter")]:
            wall += ["--size", str(size << 20), "--tmpfs", path]
        # The Python that the environment was made of, where it is not the system's.
        for path in {ENVIRONMENT, *({sys.base_prefix} - {"/usr"})}:
            wall += ["--ro-bind", path, path]
        wall += ["--ro-bind", str(HERE / "sandbox"), "/run/tidemart"]
        # The user may write only where the user's own server listens.
        wall += ["--ro-bind", f"{folder}/sockets", "/run/sockets", "--bind", f"{folder}/server", "/run/server"]
        if SETTINGS["tidemart"]:
            wall += ["--ro-bind", SETTINGS["tidemart"], "/opt/tidemart/bin/tidemart"]
        wall += ["--bind", str(home), f"/home/{self.user.name}", "--chdir", f"/home/{self.user.name}"]
        # What is made in the folders that are memory counts; these would be memory without a bound.
        return [*wall, "--remount-ro", "/dev", "--remount-ro", "/"]


def without_process(state):
    return {name: value for name, value in state.items() if name != "pid"}


c = get_config()  # noqa: F821
c.JupyterHub.bind_url = f"http://127.0.0.1:{SETTINGS['port']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{SETTINGS['reach']['hub']}"
c.JupyterHub.cookie_secret_file = str(DATA / "cookie_secret")
c.JupyterHub.db_url = f"sqlite:///{DATA}/hub.sqlite"
c.JupyterHub.upgrade_db = True
c.JupyterHub.authenticator_class = Accounts
c.JupyterHub.spawner_class = Sandboxed
c.JupyterHub.template_vars = {"announcement_login": "The passwords are in secrets.json of the data folder."}
c.Authenticator.allowed_users = set(SETTINGS["passwords"])
# Sees who is there, starts and stops servers; an administrator of JupyterHub's own kind could enter them, too.
c.JupyterHub.load_roles = [
    {
        "name": "administrator",
        "users": ["admin"],
        "scopes": ["admin-ui", "list:users", "read:users:activity", "read:servers", "servers", "read:hub"],
    }
]

c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{SETTINGS['proxy_port']}"
c.ConfigurableHTTPProxy.auth_token = SETTINGS["proxy_token"]
c.ConfigurableHTTPProxy.pid_file = str(HERE / "proxy.pid")
c.ConfigurableHTTPProxy.command = [
    *("setpriv", "--pdeathsig", "SIGKILL", "--"),
    *(*SETTINGS["proxy"], "--pid-file", str(HERE / "proxy-own.pid"), "--log-level", "warn"),
]

c.Spawner.default_url = "/lab"
c.Spawner.ip = "127.0.0.1"
# The server itself runs nothing of the user's; kernels and terminals do.
c.Spawner.disable_user_config = True
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.LocalProcessSpawner.interrupt_timeout = 3
c.Spawner.env_keep = ["LANG", "TZ"]
c.Spawner.environment = {
    "PATH": f"{ENVIRONMENT}/bin:/opt/tidemart/bin:/usr/bin:/bin",
    "PYTHONPATH": "/run/tidemart/modules",
    "TIDEMART_CONFIG": "/run/tidemart/tidemart.toml",
    "JUPYTER_RUNTIME_DIR": "/run/jupyter",
    "JUPYTER_PREFER_ENV_PATH": "1",
    # Others reserve a gigabyte at once, which counts as used.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
