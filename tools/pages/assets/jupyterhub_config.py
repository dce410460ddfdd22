"""A hub for a class that works through the lessons of vit-steps, on one machine.

What each part is for, and what to change before real students come, stands on the page "A hub for a class".
"""

import asyncio
import os
import sys
from pathlib import Path

HOMES = Path(os.environ.get("VIT_HOMES", "/srv/class"))  # a folder for each student will be made in it
PYTHON = Path(sys.prefix) / "bin"  # the one installation, which all share and no student may write to

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (JupyterHub gives it)
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# Who may come in: everybody, without a password. For a try on one's own machine, and for nothing else.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# Where they work: one server each, started by the hub's own user, in a home of their own.
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(HOMES / "{username}")
c.Spawner.cmd = [str(PYTHON / "jupyterhub-singleuser")]
c.Spawner.default_url = "/lab/tree/vit/1_patch_embedding.ipynb"
c.JupyterHub.concurrent_spawn_limit = 4  # a start takes some seconds of a core
c.Spawner.start_timeout = 300

# One thread for each kernel: the lessons' tensors are small, and more threads only wait for each other.
c.Spawner.environment = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONUTF8")
}
# A kernel that nobody uses gives its memory back after twenty minutes, the server after an hour.
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=1200",
    "--MappingKernelManager.cull_interval=60",
    "--ServerApp.shutdown_no_activity_timeout=3600",
]


async def lay_lessons(spawner):
    """Before a server starts: the lessons, in a folder of the student's; what was changed there stays."""
    place = HOMES / spawner.user.name / "vit"
    laying = await asyncio.create_subprocess_exec(PYTHON / "python", "-m", "vit_steps", "course", place)
    if await laying.wait():
        raise RuntimeError(f"the lessons could not be laid into {place}")


c.Spawner.pre_spawn_hook = lay_lessons
