import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from pretrained_cases import NAMES, PREPARATIONS, SQUARE
from references import perturb
from safetensors.torch import load_file, save_file

from vit_steps.pretrained import load_pretrained, save_hugging_face
from vit_steps.vit import ViT

# The Hub, played by a server on this machine.


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for a few public models, and on request no more."""

    folder: Path
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        owner, _, rest = self.path.lstrip("/").partition("/")
        name, file = rest.split("/")[0], self.path.rsplit("/", 1)[-1]
        if file == "quit":
            self.server.shutdown()
            self.server.server_close()
            self._send(b"", body)  # only now: the next question must find nobody
        elif owner != "somebody" or not (self.folder / name).is_dir():
            self._send(b"{}", body, 401, **{"X-Error-Code": "RepoNotFound"})
        elif (self.folder / name / file).is_file():
            self._send((self.folder / name / file).read_bytes(), body, ETag=f'"{file}"')
        else:
            self._send(b"{}", body, 404, **{"X-Error-Code": "EntryNotFound"})

    def _send(self, content: bytes, body: bool, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "X-Repo-Commit": self.commit, **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_args):
        pass


READER = """
import sys, urllib.request, torch
from huggingface_hub import hf_hub_download
from vit_steps.pretrained import load_pretrained
endpoint = sys.argv[1]

def attempt(name):
    try:
        loaded = load_pretrained(name)
        logits = loaded.model(torch.full((1, 3, 40, 40), 0.3))
        said = f"{logits.sum().item().hex()} {loaded.labels[0]}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(said)

attempt("somebody/vit")
attempt("somebody/else")
attempt("somebody/old")
attempt("somebody/shards")
urllib.request.urlopen(endpoint + "/quit").read()
attempt("somebody/vit")
attempt("somebody/else")
attempt("somebody/old")
attempt("somebody/shards")
"""


def _read(endpoint: str, cache: Path, **environment: str) -> list[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), **environment}
    command = [sys.executable, "-c", READER, endpoint]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.stdout, ran.stderr
    return ran.stdout.splitlines()


def save_in_shards(weights: dict, folder: Path) -> None:
    folder.mkdir()
    places = {name: f"model-0000{1 + number % 3}-of-00003.safetensors" for number, name in enumerate(weights)}
    for file in set(places.values()):
        save_file({name: weights[name] for name in weights if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    model = perturb(ViT(**SQUARE._asdict()))
    save_hugging_face(model, folder / "vit", labels=NAMES, preprocess=PREPARATIONS["crop"])
    shutil.copytree(folder / "vit", folder / "old")
    (folder / "vit" / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "old" / "model.safetensors").unlink()
    (folder / "old" / "preprocessor_config.json").unlink()
    torch.save(model.state_dict(), folder / "old" / "pytorch_model.bin")
    save_in_shards(load_file(folder / "vit" / "model.safetensors"), folder / "shards")
    shutil.copy(folder / "vit" / "config.json", folder / "shards")
    handler = type("Hub", (_Hub,), {"folder": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", model.eval()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_name_on_the_hub_is_fetched_once_and_then_read_from_the_cache(hub, tmp_path):
    endpoint, model = hub
    missing = "FileNotFoundError: there is no folder somebody/else, and no such public model on the Hub"
    silent = "ConnectionError: somebody/else is not in the cache, and the Hugging Face Hub cannot be reached"
    said = _read(endpoint, tmp_path / "cache", HF_HUB_OFFLINE="0")
    assert [said[1], said[5]] == [missing, silent]
    expected = model(torch.full((1, 3, 40, 40), 0.3)).sum().item()
    for number, label in (said[place].split() for place in (0, 2, 3, 4, 6, 7)):
        # Another process may add up with another number of threads: some last digits of float32.
        assert float.fromhex(number) == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert label == "tench"
    assert len(set(said[:1] + said[2:5] + said[6:])) == 1  # one process, one model: bit for bit
    fetched = {path.name for path in (tmp_path / "cache").rglob("models--somebody--vit/snapshots/*/*")}
    assert fetched == {"config.json", "preprocessor_config.json", "model.safetensors"}


@pytest.fixture
def online(hub, monkeypatch, tmp_path):
    """The Hub on this machine, asked by this process, with an empty cache."""
    endpoint, model = hub
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    return model


@pytest.mark.parametrize("name", ["somebody/vit", "somebody/old"])
def test_a_name_is_fetched_with_what_stands_beside_it(online, name):
    loaded = load_pretrained(name)
    image = torch.full((1, 3, 40, 40), 0.3)
    assert torch.equal(loaded.model(image), online(image))
    assert loaded.labels[0] == "tench"
    assert (loaded.preprocess.mean is None) == (name == "somebody/old")


def test_a_model_of_open_clip_is_fetched_with_its_config(online, hub, tmp_path):
    folder = tmp_path / "hub" / "open_clip"
    folder.mkdir()
    weights = {
        f"visual.trunk.{name}": each for name, each in online.state_dict().items() if "head" not in name
    }
    save_file(weights, folder / "open_clip_model.safetensors")
    vision = {"image_size": 40, "timm_model_name": "vit_wonderful_patch8_40", "timm_pool": "token"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": vision}}))
    with pytest.raises(
        ValueError, match=r"open_clip_config\.json: the architecture 'vit_wonderful_patch8_40' is none"
    ):
        load_pretrained("somebody/open_clip")


def test_what_the_hub_does_not_have_is_named(online, hub, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_pretrained("somebody/else")
    assert str(caught.value) == "there is no folder somebody/else, and no such public model on the Hub"
    (tmp_path / "hub" / "bare").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load_pretrained("somebody/bare")
    files = (
        "model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json, "
    )
    files += "open_clip_model.safetensors, open_clip_pytorch_model.bin"
    assert str(caught.value) == f"somebody/bare has no file with weights on the Hub ({files})"


@pytest.mark.parametrize("name", ["google/vit-base-patch16-224", "WinKawaks/ViT_Ti.16", "0-0/0"])
def test_offline_a_name_that_is_not_in_the_cache_is_an_error_at_once(monkeypatch, tmp_path, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=f"{name} is not in the cache"):
        load_pretrained(name)
    assert time.monotonic() - began < 5


def test_a_network_that_swallows_everything_is_an_error_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        template = f"http://127.0.0.1:{silent.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(
            "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False
        )
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("vit_steps.pretrained.hub.PATIENCE", 0.5)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="somebody/vit is not in the cache"):
            load_pretrained("somebody/vit")
        assert 0.4 < time.monotonic() - began < 5


def test_a_connection_that_breaks_is_an_error_and_a_model_without_weights_is_another(monkeypatch, tmp_path):
    def break_off(*_args, **_options):
        raise RuntimeError("peer closed the connection")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("vit_steps.pretrained.hub._answers", lambda _name: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", break_off)
    with pytest.raises(
        ConnectionError, match="somebody/vit could not be fetched: peer closed the connection"
    ):
        load_pretrained("somebody/vit")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_a, **_o: str(tmp_path / "config.json"))
    with pytest.raises(FileNotFoundError, match="somebody/vit has no file with weights on the Hub"):
        load_pretrained("somebody/vit")


def test_importing_the_package_or_this_module_reaches_for_no_network():
    heavy = "{'huggingface_hub', 'transformers', 'timm', 'torchvision'}"
    code = f"import sys, vit_steps.pretrained; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
