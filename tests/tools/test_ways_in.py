"""Binder, Codespaces and an index page get what pyproject.toml says, and nothing leads into a void."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

ROOT = Path(__file__).parents[2]
ADDRESS = "https://git.example.org/school/lessons"


def conda(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))["dependencies"]


def test_binder_gets_what_the_lessons_need_and_no_test_tools():
    whole = (ROOT / "environment.yml").read_text(encoding="utf-8")
    needed = re.findall(r"^  - ([\w-]+>=\S+)$", whole.partition("# the tests")[0], flags=re.M)
    python, pip, *packages = conda("binder/environment.yml")
    assert [python, pip] == ["python=3.12", "pip"]  # repo2docker reads a version from one equals sign alone
    assert packages == [line for line in needed if not line.startswith("python>=")]
    assert len(packages) == 15


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_what_binder_runs_is_a_program(name):
    path = ROOT / "binder" / name
    assert path.read_text().startswith("#!/bin/bash\n")
    mode = subprocess.run(["git", "ls-files", "-s", path], cwd=ROOT, capture_output=True, text=True).stdout
    assert mode.startswith("100755") or os.access(path, os.X_OK)


@pytest.mark.skipif(os.name == "nt", reason="Binder runs it on Linux")
def test_binders_start_sets_one_thread_and_hands_on():
    told = [
        ROOT / "binder" / "start",
        sys.executable,
        "-c",
        "import os; print(os.environ['OMP_NUM_THREADS'])",
    ]
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "1\n"


def test_the_dev_container_is_one_as_the_specification_has_it():
    """Its names and types; all of it was held against devContainer.base.schema.json when it was written."""
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    kinds = {
        "name": str,
        "image": str,
        "hostRequirements": dict,
        "containerEnv": dict,
        "customizations": dict,
    }
    kinds |= {"onCreateCommand": str, "postCreateCommand": str}
    assert {name: type(value) for name, value in container.items()} == kinds
    needs = container["hostRequirements"]
    assert type(needs["cpus"]) is int
    assert all(re.fullmatch(r"\d+[tgmk]b", needs[name]) for name in ("memory", "storage"))
    assert all(type(value) is str for value in container["containerEnv"].values())
    (opened,) = container["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened).exists()
    assert container["image"].endswith(":3.12")
    assert "-c constraints.txt -e '.[lab]'" in container["onCreateCommand"]


# What an index page shows


@pytest.fixture
def index(monkeypatch):
    """The module as hatchling loads it; where hatchling is not there, its class alone is made up."""
    if importlib.util.find_spec("hatchling") is None:
        interface = ModuleType("hatchling.metadata.plugin.interface")
        interface.MetadataHookInterface = object
        for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, interface.__name__, interface)
    monkeypatch.delitem(sys.modules, "for_the_index", raising=False)
    import for_the_index

    return for_the_index


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def links(html):
    return re.findall(r'(?:href|src)="([^"]*)"', html)


def rendered(markdown):
    return MarkdownWithMath(renderer=IPythonRenderer(exclude_anchor_links=True)).render(markdown)


def test_with_an_address_every_link_of_the_readme_leads_to_a_file_that_is_there(index):
    found = links(rendered(index.with_links(readme(), ADDRESS, "main")))
    ours = [link.removeprefix(ADDRESS) for link in found if link.startswith(ADDRESS)]
    assert len(ours) >= 15
    assert not [link for link in found if not link.startswith("https://")]
    for link in ours:
        if link.startswith("#"):
            assert f"\n## {link[1:].replace('-', ' ').capitalize()}\n" in readme()
        else:
            kind, branch, path = link[1:].split("/", 2)
            assert (kind in ("blob", "raw"), branch) == (True, "main")
            assert (ROOT / path).exists()
    assert f"{ADDRESS}/raw/main/.github/real_eyes.png" in found


def test_without_an_address_no_link_pretends_that_there_is_one(index):
    plain = index.with_links(readme(), "", "main")
    assert all(link.startswith("https://") for link in links(rendered(plain)))
    assert "| 1 Patch embedding |" in plain
    assert "*The five steps on real data: a cat cut into patches" in plain
    assert index.urls("", "main") == {}


def test_code_is_left_as_it_is(index):
    code = "```python\nmaps[0](a.b)\n```\n"
    assert index.with_links(f"[a](b.md)\n\n{code}", ADDRESS, "main") == (
        f"[a]({ADDRESS}/blob/main/b.md)\n\n{code}"
    )


def test_the_projects_links_are_made_of_the_address(index):
    urls = index.urls(ADDRESS + "/", "term/2026")
    assert urls["Repository"] == ADDRESS
    assert urls["Changelog"] == f"{ADDRESS}/blob/term/2026/CHANGELOG.md"
    with pytest.raises(ValueError, match=r"must be empty or begin with https://, got 'example\.org'"):
        index.urls("example.org", "main")


def test_one_place_has_the_address_and_none_is_made_up():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"readme", "urls"} <= {*project["project"]["dynamic"]}
    address = project["tool"]["vit-steps"]["address"]
    assert address == "" or address.startswith("https://")


def test_the_wheel_has_the_lessons_the_command_and_the_readme(tmp_path):
    pytest.importorskip("hatchling", reason="make test installs it")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
        texts = {name.rpartition("/")[2]: wheel.read(name).decode() for name in names if "dist-info" in name}
        for lesson in (ROOT / "notebooks").rglob("[!.]*.ipynb"):
            if ".ipynb_checkpoints" not in lesson.parts:
                packed = f"vit_steps/notebooks/{lesson.relative_to(ROOT / 'notebooks').as_posix()}"
                assert wheel.read(packed) == lesson.read_bytes()
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vit_steps").rglob("*") if path.is_file()}
    assert {name for name in here if "__pycache__" not in name} <= {*names}
    assert not [name for name in names if name.startswith(("tests", "tools", "notebooks"))]
    assert "vit-steps = vit_steps.__main__:main" in texts["entry_points.txt"]
    metadata = message_from_string(texts["METADATA"])
    assert metadata.get_payload().startswith("# vit-steps\n")
    assert not metadata.get_all("Project-URL")
