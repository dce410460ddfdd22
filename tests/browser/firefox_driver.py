"""Drive Firefox as it is installed, over WebDriver BiDi: playwright has one of its own making only.

Its page can do the little that our tests ask of one of playwright's, under the same names.
"""

import importlib.util
import itertools
import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

NO_FIREFOX = "no Firefox, so pages are opened in Chromium alone: apt-get install firefox-esr"
NO_SOCKET = "no websocket-client, so Firefox cannot be driven: pip install websocket-client"
KEYS = {
    "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
}


CALL = """
(async () => {
  const given = (SCRIPT);
  return JSON.stringify((await (typeof given === "function" ? given(ARGUMENT) : given)) ?? null);
})()
"""


def missing() -> str:
    """What keeps us from opening Firefox, and how to get it; nothing when all is there."""
    if importlib.util.find_spec("websocket") is None:
        return NO_SOCKET
    return "" if firefox() else NO_FIREFOX


def firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


@contextmanager
def browser():
    with tempfile.TemporaryDirectory() as profile:
        command = [
            firefox(),
            "--headless",
            "--no-remote",
            "--profile",
            profile,
            "--remote-debugging-port",
            "0",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            page = Page(_address(process))
            yield page
            page.close()
        finally:
            process.terminate()
            process.wait(timeout=30)
            process.stderr.close()


def _address(process: subprocess.Popen) -> str:
    for line in process.stderr:
        if "WebDriver BiDi listening on" in line:
            return line.split()[-1]
    raise RuntimeError("Firefox did not start")


class Page:
    """One tab; ``complaints`` holds what its console had to complain about since the page was opened."""

    def __init__(self, address: str):
        from websocket import create_connection

        self.socket = create_connection(f"{address}/session", timeout=60, suppress_origin=True)
        self.numbers, self.complaints = itertools.count(1), []
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self.context = self._send("browsingContext.getTree")["contexts"][0]["context"]

    def goto(self, address: str, *, width: int = 1280, height: int = 720) -> None:
        self.complaints.clear()
        size = {"width": width, "height": height}
        self._send("browsingContext.setViewport", context=self.context, viewport=size)
        self._send("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, script: str, argument: object = None) -> object:
        """A function of one argument, or an expression; what comes of it goes through JSON."""
        expression = CALL.replace("SCRIPT", script, 1).replace("ARGUMENT", json.dumps(argument), 1)
        target = {"context": self.context}
        given = self._send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        if given["type"] == "exception":
            raise RuntimeError(given["exceptionDetails"]["text"])
        return json.loads(given["result"]["value"])

    def press(self, key: str) -> None:
        value = KEYS.get(key, key)
        actions = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def draw(self, *points: tuple[float, float]) -> None:
        """With the mouse button down from the first point to the last; one point is a click."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in points]
        actions = [
            moves[0],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def close(self) -> None:
        self._send("session.end")
        self.socket.close()

    def _act(self, source: dict) -> None:
        self._send("input.performActions", context=self.context, actions=[source])

    def _send(self, method: str, **parameters: object) -> dict:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.complaints.append(answer["params"]["text"])
            if answer.get("id") == number:
                break
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]
