"""The hub in a container: the configuration of `tidemart up` with what differs there.

Users are accounts of the container, kept apart by those, and not by sandboxes: a container may not make the namespaces
that a sandbox needs. The hub is root inside the container, which has no more rights than to become one of them.
"""

import json
import os
import pathlib
import pwd
import secrets
import subprocess
import tomllib

OURS = pathlib.Path("/opt/tidemart/jupyterhub")
# Every user sees it: the account that may only read, and what the cluster wants to hear.
KNOWN = pathlib.Path("/run/tidemart")
DATA = pathlib.Path("/srv/jupyterhub/data")

with open("/var/lib/tidemart/accounts/reader.toml", "rb") as file:
    reader = tomllib.load(file)["mysql"]
token = os.environ["TIDEMART_SPARK_TOKEN"]
replica = {key: reader[key] for key in ["host", "port", "user", "password", "database"]}
known = {"replica": replica, "spark": f"sc://localhost:15002/;token={token}"}
(KNOWN / "settings.json").write_text(json.dumps(known))
lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in replica.items())
(KNOWN / "tidemart.toml").write_text(f"[mysql]\n{lines}")

settings = {
    "port": 8000,
    "proxy_port": 8001,
    "proxy": ["configurable-http-proxy"],
    "proxy_token": secrets.token_hex(32),
    "environment": "/opt/jupyter",
    "data": str(DATA),
    "passwords": {"analyst": os.environ["JUPYTERHUB_ANALYST"], "admin": os.environ["JUPYTERHUB_ADMIN"]},
    "reach": {"hub": 8082},
}
# Before it holds a password nobody else may read it.
(OURS / "settings.json").touch(mode=0o600)
(OURS / "settings.json").write_text(json.dumps(settings))

c = get_config()  # noqa: F821
load_subconfig(str(OURS / "jupyterhub_config.py"))  # noqa: F821


def bring_notebooks(spawner):
    """Copies the notebooks that the user has not. As the user, whose folder may hold links to anywhere."""
    user = pwd.getpwnam(spawner.user.name)
    copying = subprocess.run(
        ["sh", "-c", 'mkdir -p notebooks && cp -n "$0"/* notebooks/', str(OURS / "notebooks")],
        cwd=user.pw_dir,
        env={"PATH": "/usr/bin:/bin"},
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )
    if copying.returncode:
        spawner.log.warning("not all notebooks could be copied for %s", spawner.user.name)


c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.JupyterHub.template_vars = {"announcement_login": "The passwords are in deploy/secrets/jupyterhub.env."}
c.Spawner.pre_spawn_hook = bring_notebooks
c.Spawner.cmd = ["/opt/jupyter/bin/jupyterhub-singleuser"]
# In a sandbox each user has one of this name.
c.Spawner.environment.pop("JUPYTER_RUNTIME_DIR")
