"""vit-steps lab lays the lessons and becomes JupyterLab, with one thread for each kernel."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from vit_steps.__main__ import main
from vit_steps.commands.lab import SETTINGS, jupyter_options

ROOT = Path(__file__).parents[2]
FAKE = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['OMP_NUM_THREADS']]))"


@pytest.fixture
def lab(tmp_path):
    """The command as a process, with a JupyterLab that only says how it was started."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "jupyterlab.py").write_text(FAKE)

    def start(*arguments, **variables):
        paths = os.pathsep.join([str(tmp_path / "fake"), str(ROOT)])
        without = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        return subprocess.run(
            [sys.executable, "-m", "vit_steps", "lab", *arguments],
            **dict(capture_output=True, text=True, cwd=tmp_path, timeout=100),
            env={**without, "PYTHONPATH": paths, **variables},
        )

    return start


def test_it_lays_the_lessons_and_opens_the_first(lab, tmp_path):
    ran = lab("my vit", "--port=9000", "--no-browser")
    options, threads = json.loads(ran.stdout)
    assert f"--ServerApp.root_dir={tmp_path / 'my vit'}" in options
    assert "--LabApp.default_url=/lab/tree/1_patch_embedding.ipynb" in options
    assert options[-2:] == ["--port=9000", "--no-browser"]
    assert threads == "1"
    assert (tmp_path / "my vit" / "1_patch_embedding.ipynb").exists()
    assert "lessons in my vit" in ran.stderr


def test_who_sets_the_threads_is_asked(lab):
    assert json.loads(lab("here", OMP_NUM_THREADS="8").stdout)[1] == "8"


def test_as_it_is_lays_nothing(lab, tmp_path):
    (tmp_path / "mine" / "notebooks").mkdir(parents=True)
    (tmp_path / "mine" / "notebooks" / "1_one.ipynb").touch()
    options, _ = json.loads(lab("--as-it-is", "mine").stdout)
    assert "--LabApp.default_url=/lab/tree/notebooks/1_one.ipynb" in options
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["notebooks", "1_one.ipynb"]
    missing = lab("--as-it-is", "nowhere")
    assert (missing.returncode, "there is no folder nowhere" in missing.stderr) == (2, True)


def test_what_is_refused_opens_nothing(lab, tmp_path):
    (tmp_path / "file").touch()
    ran = lab("file")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "file is a file, a folder was wanted" in ran.stderr


@pytest.mark.parametrize("missing", ["jupyterlab", "anywidget"])
def test_a_missing_part_is_named_before_anything_is_laid(tmp_path, monkeypatch, capsys, missing):
    from importlib.util import find_spec

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else find_spec(name))
    assert main(["lab", str(tmp_path / "new")]) == 1
    said = f'vit-steps: lab needs {missing}, which is not installed: pip install "vit-steps[lab]"\n'
    assert capsys.readouterr().err == said
    assert not (tmp_path / "new").exists()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def ask(address, process):
    for _ in range(300):
        try:
            return json.load(urlopen(address))
        except URLError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
    raise AssertionError("JupyterLab does not answer")


def test_the_real_jupyterlab_takes_its_options_and_our_settings(tmp_path):
    (tmp_path / "1_one.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    port = free_port()
    address, token = f"http://127.0.0.1:{port}", "?token=open"
    options = [f"--port={port}", "--no-browser", "--IdentityProvider.token=open"]
    command = [sys.executable, "-m", "jupyterlab", *jupyter_options(tmp_path), *options]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        try:
            contents = ask(f"{address}/api/contents{token}", process)
            assert [each["name"] for each in contents["content"]] == ["1_one.ipynb"]
            plugin = "@jupyter-widgets/jupyterlab-manager:plugin"
            settings = ask(f"{address}/lab/api/settings/{plugin}{token}", process)
            assert settings["schema"]["properties"]["saveState"]["default"] is True
            page = urlopen(f"{address}/{token}").read().decode()
            assert '"@jupyterlab/apputils-extension:announcements"' in page
        finally:
            process.terminate()
            said = process.communicate(timeout=60)[0]
    assert "Unrecognized" not in said


def test_the_settings_ship():
    assert {path.name for path in SETTINGS.iterdir()} == {"overrides.json", "page_config.json"}
