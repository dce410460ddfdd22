"""A JupyterHub for a measurement, and students who use it as JupyterLab does: by REST and by websocket."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "tools" / "pages" / "assets" / "jupyterhub_config.py"
SKIPPED = {"nbval-skip"}  # cells that need trained weights from elsewhere
PATIENCE = 900  # seconds for a server or a cell
LARGEST = 2**28  # bytes of a message: pictures come by this way
# Beside the recipe: ports that are free, and a service that may act for every student.
OWN = """
load_subconfig({recipe!r})
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.cookie_secret_file = {folder!r} + "/cookie_secret"
c.JupyterHub.db_url = "sqlite:///" + {folder!r} + "/hub.sqlite"
c.JupyterHub.services = [{{"name": "measure", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{
        "name": "measure",
        "services": ["measure"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }}
]
if {is_root}:
    c.Spawner.args = [*c.Spawner.args, "--allow-root"]
"""


class Ran(NamedTuple):
    """One cell: how long it took, and whether it failed."""

    lesson: str
    cell: str
    seconds: float
    failed: bool


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""


def code_cells(path: Path, last: str | None) -> list[tuple[str, str]]:
    """Names and sources of what Run All runs, up to a cell."""
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not SKIPPED & {*cell["metadata"].get("tags", [])}:
            found.append((cell["id"], "".join(cell["source"])))
        if cell["id"] == last:
            break
    return found


class Hub:
    """A hub in a folder of its own."""

    def __init__(self, environment: Path, folder: Path):
        self.environment, self.folder, self.token = environment, folder, secrets.token_hex(16)
        self.headers = {"Authorization": f"token {self.token}"}
        self.port, self.hub_port, self.proxy_port = free_ports(3)
        self.address = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        config = self.folder / "config.py"
        said = {"recipe": str(RECIPE), "folder": str(self.folder), "is_root": os.geteuid() == 0}
        ports = {"port": self.port, "hub_port": self.hub_port, "proxy_port": self.proxy_port}
        config.write_text(OWN.format(**said, **ports, token=self.token), encoding="utf-8")
        programs = self.environment / "bin"
        environ = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        environ |= {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "VIT_HOMES": str(self.folder / "homes"),
        }
        with open(self.folder / "hub.log", "wb") as log:
            self.process = subprocess.Popen(
                [programs / "jupyterhub", "-f", config],
                **dict(cwd=self.folder, env=environ, stdout=log, stderr=log, start_new_session=True),
            )
        await self._until(lambda: self.ask("GET", "/hub/api/"))

    async def stop(self) -> None:
        """End it, and with it the proxy and all servers."""
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 120)

    async def ask(self, method: str, path: str, body: dict | None = None) -> dict | None:
        """One request to the hub, or to a student's server behind it."""
        text = json.dumps(body) if body is not None else ("" if method == "POST" else None)
        timeouts = {"request_timeout": PATIENCE, "connect_timeout": PATIENCE}
        request = HTTPRequest(self.address + path, method=method, body=text, headers=self.headers, **timeouts)
        answer = await AsyncHTTPClient().fetch(request)
        return json.loads(answer.body) if answer.body else None

    async def _until(self, ask) -> None:
        """Ask until it is true, or for too long; what the hub said is shown then."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and self.process.poll() is None:
            try:
                if await ask():
                    return
            except (HTTPClientError, OSError):
                pass
            await asyncio.sleep(0.5)
        raise RuntimeError((self.folder / "hub.log").read_text()[-3000:])

    async def start_server(self, user: str) -> float:
        """Let a student come; gives how many seconds the server took."""
        began = time.monotonic()
        await self.ask("POST", f"/hub/api/users/{user}")
        await self.ask("POST", f"/hub/api/users/{user}/server")

        async def is_ready() -> bool:
            return (
                (await self.ask("GET", f"/hub/api/users/{user}"))["servers"].get("", {}).get("ready", False)
            )

        await self._until(is_ready)
        return time.monotonic() - began

    async def stop_server(self, user: str) -> None:
        await self.ask("DELETE", f"/hub/api/users/{user}/server")

    async def run_lesson(self, user: str, lesson: str, last: str | None) -> list[Ran]:
        """Open a lesson, run its cells one after another up to ``last``, and shut its kernel."""
        path = f"vit/{lesson}.ipynb"
        notebook = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        session = await self.ask("POST", f"/user/{user}/api/sessions", notebook)
        kernel = session["kernel"]["id"]
        address = f"ws{self.address[4:]}/user/{user}/api/kernels/{kernel}/channels"
        socket = await websocket_connect(HTTPRequest(address, headers=self.headers), max_message_size=LARGEST)
        try:
            cells = code_cells(self.folder / "homes" / user / path, last)
            return [await run_cell(socket, lesson, *cell) for cell in cells]
        finally:
            socket.close()
            await self.ask("DELETE", f"/user/{user}/api/sessions/{session['id']}")


async def run_cell(socket, lesson: str, name: str, source: str) -> Ran:
    """Run one cell and wait until the kernel answered and is idle again."""
    asked, began = uuid.uuid4().hex, time.monotonic()
    header = {
        "msg_id": asked,
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message))
    failed, waiting = False, {"execute_reply", "idle"}
    while waiting:
        said = await asyncio.wait_for(socket.read_message(), PATIENCE)
        if said is None:
            raise RuntimeError(f"{lesson}, {name}: the kernel is gone")
        answer = json.loads(said) if isinstance(said, str) else {}
        if answer.get("parent_header", {}).get("msg_id") == asked:
            waiting -= {answer["msg_type"], answer["content"].get("execution_state")}
            failed |= answer["msg_type"] == "error"
    return Ran(lesson, name, time.monotonic() - began, failed)
