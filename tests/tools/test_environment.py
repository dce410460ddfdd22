"""The two descriptions of the environment say the same, and setting it up fails in one clear line."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "huggingface_hub": "huggingface-hub"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges(lines: list[str]) -> dict[str, str]:
    parts = (re.fullmatch(r"([\w-]+)(.*)", line) for line in lines)
    return {CONDA_NAMES.get(match[1], match[1]): match[2] for match in parts}


def test_conda_gets_what_pip_gets():
    extras = {name: some for name, some in project()["optional-dependencies"].items() if name != "measure"}
    pip = ranges(sum(extras.values(), project()["dependencies"]))
    pip["python"] = project()["requires-python"]
    *listed, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    # conda hands these lines to pip as a file of requirements, where options such as --no-deps are refused.
    itself, *needed = by_pip["pip"]
    assert itself == "-e ."
    conda = ranges(listed + needed)
    del conda["pip"]
    assert conda == pip


def test_every_dependency_is_pinned():
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.M)
    wanted = ranges(sum(project()["optional-dependencies"].values(), project()["dependencies"]))
    assert wanted.keys() <= set(pinned)


def test_the_setup_script_asks_for_the_python_that_the_package_asks_for():
    oldest = re.search(r"OLDEST = \((\d+), (\d+)\)", (ROOT / "tools" / "environment.py").read_text())
    assert project()["requires-python"] == f">={oldest[1]}.{oldest[2]}"


NOWHERE = {
    **{"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
    **{"PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"},
}
NO_PACKAGES = (
    "vit-steps: The packages could not be downloaded. Is there a network? "
    "When there is, run the same command again.\n"
)


@pytest.fixture
def fresh(tmp_path):
    """A copy of what `make` needs, and a way to run it there."""
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "environment.py"
    script.write_bytes((ROOT / "tools" / "environment.py").read_bytes())

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})

    return tmp_path, script, run


def test_an_old_python_says_so_in_one_line(fresh):
    _, script, run = fresh
    script.write_text(script.read_text().replace("OLDEST = (3, 11)", "OLDEST = (3, 99)"))
    result = run()
    assert result.returncode == 1
    assert re.fullmatch(r"vit-steps: Python 3\.99 or newer is needed, this is 3\.\d+ .*\n", result.stderr)


def test_no_network_says_so_in_one_line_and_a_half_made_environment_is_mended(fresh):
    folder, _, run = fresh
    result = run(**NOWHERE)
    assert (result.returncode, result.stderr) == (1, NO_PACKAGES)
    leftover = folder / ".venv" / "half-made"
    leftover.touch()
    again = run(**NOWHERE)
    assert "An earlier setup was interrupted: starting it again." in again.stdout
    assert not leftover.exists()


@pytest.fixture
def ready(fresh):
    """The same with an environment that is made already, but empty, and a way to stamp it."""
    folder, _, run = fresh
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    asked = "import environment; print(environment.fingerprint())"
    tools = {**os.environ, "PYTHONPATH": str(folder / "tools")}
    said = subprocess.run(
        [sys.executable, "-c", asked], cwd=folder, env=tools, capture_output=True, text=True
    )

    def stamp(name: str) -> None:
        (folder / ".venv" / name).write_text(said.stdout.strip())

    stamp("vit-steps-ready")
    return folder, stamp, run


def test_a_ready_environment_is_left_alone(ready):
    _, stamp, run = ready
    result = run(**NOWHERE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    stamp("vit-steps-measure-ready")
    result = run("measure", **NOWHERE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_what_measures_is_fetched_when_it_is_asked_for_and_no_failure_harms_what_is_there(ready):
    folder, _, run = ready
    result = run("measure", **NOWHERE)
    assert (result.returncode, result.stderr) == (1, NO_PACKAGES)
    assert "Installing what measures the project" in result.stdout
    assert (folder / ".venv" / "vit-steps-ready").exists()
    assert not (folder / ".venv" / "vit-steps-measure-ready").exists()
