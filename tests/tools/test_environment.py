"""The two descriptions of the environment say the same, and setting it up fails in one clear line."""

import ast
import errno
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
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
    extras = {
        name: some
        for name, some in project()["optional-dependencies"].items()
        if name not in ("measure", "grading")
    }
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


@pytest.fixture(scope="module")
def environment():
    spec = importlib.util.spec_from_file_location("environment", ROOT / "tools" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_setup_script_asks_for_the_python_that_the_package_asks_for(environment):
    assert project()["requires-python"] == ">={}.{}".format(*environment.OLDEST)


def test_the_oldest_and_the_newest_python_run_on_github(environment):
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    ends = ["{}.{}".format(*version) for version in (environment.OLDEST, environment.NEWEST)]
    assert jobs["two-commands"]["strategy"]["matrix"]["python"] == ends


def test_a_python_that_is_too_old_can_read_the_setup_script():
    ast.parse((ROOT / "tools" / "environment.py").read_text(), feature_version=(3, 6))


NOWHERE = {
    **{"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
    **{"PIP_EXTRA_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1"},
}
NO_NETWORK = (
    "The packages could not be downloaded. Is there a network? When there is, run the same command again."
)
NO_PACKAGES = f"vit-steps: {NO_NETWORK}\n"


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
    script.write_text(script.read_text().replace("OLDEST, NEWEST = (3, 11), ", "OLDEST, NEWEST = (3, 99), "))
    result = run()
    assert result.returncode == 1
    said = r"vit-steps: Python 3\.99 or newer is needed, this is 3\.\d+ \(.*\)\. Install one and name it: .*"
    assert re.fullmatch(said, result.stderr.strip())


def test_another_python_is_named_where_there_is_one(environment, monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda name: name == "python3.12")
    monkeypatch.setattr(environment.subprocess, "call", lambda command, **options: 0)
    assert "3.12" in environment.another_python()
    # pyenv leaves a command behind that only says it has none
    monkeypatch.setattr(environment.subprocess, "call", lambda command, **options: 127)
    assert environment.another_python().startswith("Install one and name it: ")


def test_another_word_than_these_is_refused(fresh):
    result = fresh[2]("tets")
    assert (result.returncode, result.stderr) == (
        1,
        "vit-steps: 'tets' is none of lab, test, measure and graders.\n",
    )


def test_no_network_says_so_in_one_line_and_a_half_made_environment_is_mended(fresh):
    folder, _, run = fresh
    result = run(**NOWHERE)
    assert (result.returncode, result.stderr) == (1, NO_PACKAGES)
    leftover = folder / ".venv" / "half-made"
    leftover.touch()
    again = run(**NOWHERE)
    assert STARTING_AGAIN in again.stdout
    assert not leftover.exists()


@pytest.fixture
def ready(fresh):
    """The same with an environment that is made already, but empty, and a way to stamp it."""
    folder, _, run = fresh
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
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
    for verb in ("measure", "graders"):
        stamp(f"vit-steps-{verb}-ready")
        result = run(verb, **NOWHERE)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("verb", "what"), [("measure", "what measures the project"), ("graders", "nbgrader and")]
)
def test_what_comes_later_is_fetched_when_asked_for_and_no_failure_harms_what_is_there(ready, verb, what):
    folder, _, run = ready
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)  # now with pip
    result = run(verb, **NOWHERE)
    assert (result.returncode, result.stderr) == (1, NO_PACKAGES)
    assert f"Installing {what}" in result.stdout
    assert (folder / ".venv" / "vit-steps-ready").exists()
    assert not (folder / ".venv" / f"vit-steps-{verb}-ready").exists()


# Pip's own words, shortened: seen with pip 23.2 and 24.2, no network and --platform in place of the machines.
RETRYING = "WARNING: Retrying (Retry(total=1, ...)) after connection broken by "
NONE = "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)"
OLD = NONE.replace("none", "2.2.0, 2.2.1, 2.2.2")
NOT_FOUND = "ERROR: No matching distribution found for torch==2.13.0"
REFUSED = f"{RETRYING}'NewConnectionError('<...>: Failed to establish a new connection: [Errno 111] ...')'"
UNKNOWN_NAME = f"{RETRYING}'NewConnectionError('<...>: [Errno -2] Name or service not known')'"
PROXY = f"{RETRYING}'ProxyError('Cannot connect to proxy.', NewConnectionError('<...>'))': /simple/torch/"
UNTRUSTED = f"{RETRYING}'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...'))'"
CUT = "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(...): Read timed out."
DISK = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
CONFLICT = "ERROR: Cannot install sympy==1.12 and torch==2.13.0 because these versions have conflicting"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        *(([trouble, NONE, NOT_FOUND], NO_NETWORK) for trouble in (REFUSED, UNKNOWN_NAME, PROXY)),
        (["ERROR: Exception:", "Traceback (most recent call last):", CUT], NO_NETWORK),
        ([REFUSED, NONE.replace("torch==2.13.0", "hatchling>=1.27"), "note: ..."], NO_NETWORK),
        ([UNTRUSTED, NONE, NOT_FOUND], "the certificate of their server is not trusted here"),
        ([NONE, NOT_FOUND], "There is no torch 2.13.0 for this machine: "),
        ([REFUSED, OLD, NOT_FOUND], "There is no torch 2.13.0 for this machine: "),
        (["Installing collected packages: torch", DISK], "The disk is full, or your share of it, at "),
        ([REFUSED, CONFLICT], f"pip could not install the packages: {CONFLICT} (the rest is in "),
        ([], "pip could not install the packages: pip said nothing (the rest is in "),
    ],
)
def test_the_true_reason_is_read_from_what_pip_says(environment, lines, said):
    assert said in environment.why_pip_failed(lines)


PI, PC, WINDOWS, MAC = (
    ((3, 12), 64, "linux", "aarch64", (2, 36)),
    ((3, 12), 64, "linux", "x86_64", (2, 36)),
    ((3, 12), 64, "win32", "amd64", ()),
    ((3, 12), 64, "darwin", "arm64", (14, 2)),
)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (((3, 15), *PC[1:]), "Python 3.15 is too new for it, 3.11 to 3.14 would do."),
        (((3, 12), 32, *WINDOWS[2:]), "this Python is made for 32 bits."),
        ((*MAC[:3], "x86_64", (14, 2)), "Macs with an Intel processor are left out."),
        ((*MAC[:3], "x86_64", (14, 2), True), "this Python is made for Intel's processors"),
        ((*MAC[:4], (13, 6)), "macOS 14 or newer is needed, this is 13.6."),
        ((*WINDOWS[:3], "arm64", ()), "Windows on ARM is left out."),
        ((*PC[:4], (2, 17)), "a Linux with glibc 2.28 or newer is needed"),
        ((*PC[:4], ()), "a Linux with glibc 2.28 or newer is needed"),  # Alpine
        *((known, "the package index has none for Python 3.12 on ") for known in (PI, PC, WINDOWS, MAC)),
    ],
)
def test_what_leaves_a_machine_without_torch_is_named(environment, machine, reason):
    assert environment.why_no_build(environment.Machine(*machine)).startswith(reason)


def test_this_machine_is_seen_as_it_is(environment):
    here = environment.Machine.here()
    assert (here.python, here.system, here.bits) == (sys.version_info[:2], sys.platform, 64)
    assert not environment.why_no_build(here).startswith("a Linux with glibc")


def test_a_missing_part_of_python_is_named(environment, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None if "pip" in name else name)
    package = "python{}.{}-venv".format(*sys.version_info)
    said = environment.why_no_venv("")
    assert f"it came without ensurepip: on Debian and Ubuntu apt install {package}" in said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_where_venv_only_says_ensurepip(environment, monkeypatch, number):
    def refuse(dir):
        if dir != ".":
            raise OSError(number, "no room")
        return tempfile.SpooledTemporaryFile()

    monkeypatch.setattr(environment.tempfile, "TemporaryFile", refuse)
    said = environment.why_no_venv("Error: Command '['...', '-m', 'ensurepip', ...]' returned non-zero ...")
    assert said.startswith(f"The disk is full, or your share of it, at {tempfile.gettempdir()}.")


def test_another_failure_of_venv_is_told_in_its_words(environment):
    assert "(Error: Permission denied)." in environment.why_no_venv("Error: Permission denied\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux can mount a small disk")
def test_on_a_full_disk_the_whole_script_says_so(fresh):
    folder, script, _ = fresh
    mount = f"mount --bind {folder} /mnt && mount -t tmpfs -o size=2m tmpfs {folder} && cp -r /mnt/. {folder}"
    command = f"{mount} && exec {sys.executable} {script}"
    own_mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c", command]
    result = subprocess.run(own_mounts, capture_output=True, text=True)
    if "vit-steps" not in result.stderr:
        pytest.skip("this user may not mount anything")
    assert result.stderr.startswith(f"vit-steps: The disk is full, or your share of it, at {folder}.")


STARTING_AGAIN = "An earlier setup was interrupted: starting it again.\n"
WAITING = "Another setup is at work in this folder: waiting for it ...\n"


@pytest.fixture
def start(fresh):
    """The same script, started and not waited for."""
    started = []

    def begin(**variables: str) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, fresh[1]], env={**os.environ, **variables}, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_setup_waits_says_so_and_finds_the_work_done(ready, start, environment, monkeypatch):
    folder, *_ = ready
    stamped = folder / ".venv" / "vit-steps-ready"
    wanted = stamped.read_text()
    stamped.unlink()
    monkeypatch.chdir(folder)
    with environment.alone():
        second = start(**NOWHERE)
        assert second.stdout.readline() == WAITING
        stamped.write_text(wanted)
    assert second.communicate(timeout=20) == ("", "")
    assert second.returncode == 0


@pytest.fixture
def silent_index():
    """An index of packages that takes a call and never answers: pip waits, and is there to be interrupted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        yield {**NOWHERE, "PIP_INDEX_URL": address, "PIP_DEFAULT_TIMEOUT": "99"}


def wait_for_pip(folder: Path, process: subprocess.Popen) -> None:
    log = folder / ".venv" / "install.log"
    while not log.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_leaves_nothing_that_works_on_and_the_next_starts_again(fresh, start, silent_index):
    first = start(**silent_index)
    wait_for_pip(fresh[0], first)
    first.send_signal(signal.SIGINT)
    assert first.communicate(timeout=300)[1] == "\nvit-steps: stopped. Run the same command again to go on.\n"
    assert start(**NOWHERE).stdout.readline() == STARTING_AGAIN


@pytest.mark.skipif(os.name == "nt", reason="there the lock goes with the process that took it")
def test_a_dead_setup_blocks_nobody_once_its_pip_is_gone(fresh, start, silent_index):
    first = start(**silent_index)
    wait_for_pip(fresh[0], first)
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first.pid)], capture_output=True, text=True)
    first.kill()
    second = start(**NOWHERE)
    assert second.stdout.readline() == WAITING  # pip lives, and still writes into .venv
    os.kill(int(listed.stdout.split()[0]), signal.SIGKILL)
    assert second.stdout.readline() == STARTING_AGAIN


REPORT = "import os, sys; print(sys.argv[1:], os.environ['OMP_NUM_THREADS'], os.environ['PYTHONUTF8'])"


@pytest.mark.parametrize(("verb", "module"), [("lab", "vit_steps"), ("test", "pytest")])
def test_lab_and_test_need_no_make(ready, verb, module, monkeypatch):
    folder, _, run = ready
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (folder / f"{module}.py").write_text(REPORT)
    said = run(verb, "--port=9000", **NOWHERE)
    assert said.stderr == ""
    assert said.stdout.endswith(", '--port=9000'] 1 1\n")
    assert run(verb, OMP_NUM_THREADS="8").stdout.endswith("] 8 1\n")


def test_the_makefile_starts_the_same_two(environment):
    makefile = (ROOT / "Makefile").read_text()
    for verb in environment.COMMANDS:
        assert re.search(rf"^{verb}:\n\t@\$\(PYTHON\) tools/environment\.py {verb}\b", makefile, flags=re.M)
