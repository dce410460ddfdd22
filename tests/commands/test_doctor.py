"""The doctor, with patients that are made up: what does not fit is named, with what to do, and no more."""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vit_steps.__main__ import main
from vit_steps.commands import doctor, machine
from vit_steps.commands.doctor import examine, report
from vit_steps.commands.machine import Machine, numbers_of

ROOT = Path(__file__).parents[2]
WANTED = {"torch": ("2.6", ""), "numpy": ("1.26", ""), "ipywidgets": ("8.1.5", "lab")}
WELL = Machine(
    system="Linux-6.1",
    processor="x86_64",
    bits=64,
    python=(3, 12, 1),
    executable="/usr/bin/python3",
    wanted=WANTED,
    installed={"torch": "2.13.0+cpu", "numpy": "2.0.0", "ipywidgets": "8.1.9"},
    memory=8 * 10**9,
    memory_free=4 * 10**9,
    disk_free={"/home/a": 10**10},
    cores=2,
    threads="1",
    lessons=5,
)


def wrong(patient):
    return [(found.about, found.found, found.advice) for found in examine(patient) if found.advice]


def without(name, version=None):
    return {**WELL.installed, name: version}


def test_where_all_fits_nothing_is_said_to_do():
    assert wrong(WELL) == []
    assert report(examine(WELL)).endswith("\nEverything fits.")


@pytest.mark.parametrize(
    ("change", "about", "found", "advice"),
    [
        (dict(python=(3, 9, 2)), "Python", "3.9.2 (/usr/bin/python3)", "Python 3.11 or newer is needed"),
        (dict(bits=32), "system", "32 bits", "install the 64-bit one"),
        (
            dict(installed=without("torch", "2.5.1")),
            "torch",
            "2.5.1 is too old",
            'pip install --upgrade "torch>=2.6"',
        ),
        (dict(installed=without("torch", "2.10rc1")), None, "", ""),
        (
            dict(installed=without("ipywidgets")),
            "ipywidgets",
            "is not installed",
            'pip install "vit-steps[lab]"',
        ),
        (dict(installed=without("numpy")), "numpy", "is not installed", 'pip install "vit-steps"'),
        (dict(memory_free=10**8), "memory", "0.1 GB free of 8.0 GB", "A lesson takes 0.6 GB: close"),
        (dict(memory_free=10**8, memory=None), "memory", "0.1 GB free", "Shut Down All"),
        (dict(memory_free=None), None, "", ""),
        (
            dict(disk_free={"/home/a": 10**7}),
            "disk",
            "0.0 GB free at /home/a",
            "Make room: 0.5 GB are needed",
        ),
        (dict(disk_free={"/home/a": None}), None, "", ""),
        (dict(threads="16"), "threads", "2 processor cores, OMP_NUM_THREADS is 16", "set OMP_NUM_THREADS=1"),
        (dict(threads="many", cores=None), None, "", ""),
        (dict(lessons=0), "lessons", "0 of them", "Install vit-steps again"),
        (
            dict(torch_error="OSError: [WinError 126] c10.dll"),
            "torch",
            "2.13.0+cpu cannot be loaded: OSError: [WinError 126] c10.dll",
            "Visual C++ Redistributable",
        ),
        (
            dict(torch_error="ModuleNotFoundError: No module named 'torch'", installed=without("torch")),
            "torch",
            "cannot be loaded: ModuleNotFoundError",
            "pip install torch says whether",
        ),
        (
            dict(torch_error="it ends with -11"),
            "torch",
            "it ends with -11",
            "pip install --force-reinstall torch",
        ),
    ],
)
def test_one_illness_gives_one_finding_with_what_to_do(change, about, found, advice):
    findings = wrong(replace(WELL, **change))
    assert [finding[0] for finding in findings] == ([about] if about else [])
    for _, is_there, to_do in findings:
        assert found in is_there
        assert advice in to_do


def test_several_illnesses_are_counted_and_told_one_below_the_other():
    said = report(examine(replace(WELL, lessons=0, memory_free=0)))
    assert said.endswith("\n2 of 8 do not fit; see NO above.")
    lines = said.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("NO  memory")]
    assert lines[place + 1].strip().startswith("A lesson takes 0.6 GB")


def test_a_patient_of_whom_nothing_is_known_is_no_reason_to_fall_over():
    said = report(examine(Machine()))
    assert "memory   unknown" in said
    assert "packages unknown: vit-steps was not installed by pip or conda" in said


@pytest.mark.parametrize("field", ["python", "wanted", "installed", "disk_free", "memory_free", "threads"])
def test_an_answer_that_makes_no_sense_leaves_a_gap_and_no_more(field):
    patient = replace(WELL)
    setattr(patient, field, object())
    findings = examine(patient)
    assert any("unknown (" in finding.found for finding in findings)
    assert len(findings) >= 7


@pytest.mark.parametrize(
    "asked",
    ["_wanted", "_memory", "_disk_free", "_cores", "_torch_error", "_lessons", "platform.platform"],
)
def test_a_system_that_does_not_answer_is_no_reason_to_fall_over(asked, monkeypatch):
    def fail(*_):
        raise RuntimeError("no answer")

    monkeypatch.setattr(machine, "_torch_error", lambda: "")
    monkeypatch.setattr(f"vit_steps.commands.machine.{asked}", fail)
    assert report(examine(Machine.here()))


def test_the_exit_status_says_it(monkeypatch, capsys):
    for patient, status in ((WELL, 0), (replace(WELL, lessons=0), 1)):
        monkeypatch.setattr(doctor.Machine, "here", lambda patient=patient: patient)
        assert main(["doctor"]) == status
        assert capsys.readouterr().out == report(examine(patient)) + "\n"


def test_this_machine_is_seen_as_it_is():
    here = Machine.here()
    assert here.python == sys.version_info[:3]
    assert here.torch_error == ""
    assert here.lessons == 5
    assert here.wanted["torch"][0] == "2.6"
    assert here.wanted["jupyterlab"][1] == "lab"
    assert "pytest" not in here.wanted
    assert numbers_of(here.installed["torch"]) >= (2, 6)
    assert 0 < here.memory_free <= here.memory
    assert here.cores >= 1


def test_a_container_counts_with_its_limit_and_not_with_the_machines_memory(tmp_path, monkeypatch):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(machine, "LIMITS", {str(limit): str(used)})
    limit.write_text("max\n")
    assert machine._memory()[0] > 10**8
    limit.write_text("100000000\n")
    used.write_text("70000000\n")
    assert machine._memory() == (10**8, 3 * 10**7)


def run(tmp_path, **variables):
    return subprocess.run(
        [sys.executable, "-m", "vit_steps", "doctor"],
        **dict(capture_output=True, text=True, cwd=tmp_path, timeout=100),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), **variables},
    )


@pytest.mark.parametrize("fault", ["raise OSError('[WinError 126] c10.dll')", "import os; os._exit(3)"])
def test_it_speaks_where_torch_cannot_be_loaded(tmp_path, fault):
    (tmp_path / "torch.py").write_text(fault)
    ran = run(tmp_path)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "cannot be loaded: " in ran.stdout


@pytest.mark.parametrize("name", ["__init__", "first", "doctor", "machine", "where"])
def test_a_python_that_is_too_old_can_read_it(name):
    text = (ROOT / "vit_steps" / "commands" / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    foreign = {each for each in names if each.split(".")[0] not in {*sys.stdlib_module_names, "psutil"}}
    assert all(each.startswith("vit_steps.commands") for each in foreign)
