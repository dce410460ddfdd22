"""The first cell is silent where the package is there; the links are those that their services describe."""

import ast
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from vit_steps.lessons.launch import WIDGETS, first_cell, launch_links

WHEEL = "https://example.org/vit_steps-1-py3-none-any.whl"
HERE, ELSEWHERE = "https://github.com/someone/lessons", "https://git.example.org:8443/school/lessons.git"
PATH = "notebooks/1_patch_embedding.ipynb"


class Colab(ModuleType):
    switched_on = 0

    def enable_custom_widget_manager(self):
        self.switched_on += 1


@pytest.fixture
def installed(monkeypatch):
    commands = []
    monkeypatch.setattr("subprocess.check_call", commands.append)
    return commands


@pytest.fixture
def colab(monkeypatch):
    module = ModuleType("google.colab")
    module.output = Colab("google.colab.output")
    monkeypatch.setitem(sys.modules, "google.colab", module)
    return module.output


@pytest.fixture
def _no_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", {"vit_steps": None}.__getitem__)


def run(address):
    exec(compile(first_cell(address), "a cell", "exec"), {})


def test_where_the_package_is_there_nothing_happens(installed, capfd):
    run(WHEEL)
    assert installed == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("_no_package")
def test_where_it_is_missing_it_is_installed_into_this_python(installed):
    run(WHEEL)
    assert installed == [[sys.executable, "-m", "pip", "install", "--quiet", WHEEL, WIDGETS]]


@pytest.mark.usefixtures("_no_package", "installed")
def test_on_colab_the_widgets_are_switched_on(colab):
    run(WHEEL)
    assert colab.switched_on == 1


@pytest.mark.usefixtures("installed")
def test_on_colab_a_second_session_finds_the_package_and_switches_the_widgets_on_again(colab):
    run(WHEEL)
    assert colab.switched_on == 1


def test_what_draws_the_widgets_has_the_range_of_pyproject():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert WIDGETS in project["optional-dependencies"]["lab"]


@pytest.mark.usefixtures("_no_package")
@pytest.mark.parametrize(
    "address", ['a"; import os; "b', "a\\", "{widgets}", "vit-steps @ file:///a%20b.whl"]
)
def test_an_address_stays_what_it_is(installed, address):
    run(address)
    assert installed[0][-2] == address


def test_the_cell_is_short_and_plain_python():
    cell = first_cell(WHEEL)
    assert ast.parse(cell)
    assert len(cell.splitlines()) <= 20
    assert max(map(len, cell.splitlines())) <= 110


def test_github_has_all_links():
    links = launch_links(HERE, "main", PATH, hub="https://hub.example.org/jupyter/")
    assert links == {
        "Binder": "https://mybinder.org/v2/gh/someone/lessons/main"
        "?urlpath=lab%2Ftree%2Fnotebooks%2F1_patch_embedding.ipynb",
        "Colab": "https://colab.research.google.com/github/someone/lessons/blob/main/" + PATH,
        "nbgitpuller": "https://hub.example.org/jupyter/hub/user-redirect/git-pull"
        "?repo=https%3A%2F%2Fgithub.com%2Fsomeone%2Flessons&branch=main"
        "&urlpath=lab%2Ftree%2Flessons%2Fnotebooks%2F1_patch_embedding.ipynb",
    }


@pytest.mark.parametrize("address", [HERE + ".git", HERE + "/", "https://www.github.com/someone/lessons"])
def test_an_address_may_be_written_in_other_ways(address):
    assert launch_links(address, "main", PATH) == launch_links(HERE, "main", PATH)


def test_elsewhere_than_on_github_there_is_no_link_to_colab():
    assert launch_links(ELSEWHERE, "main", PATH).keys() == {"Binder"}
    gitlab = launch_links("https://gitlab.com/a/group/lessons", "main", PATH)
    assert gitlab["Binder"].startswith("https://mybinder.org/v2/gl/a%2Fgroup%2Flessons/main?")


def test_a_service_reads_back_what_was_meant():
    """As each does it: Binder splits the path and unquotes its parts, nbgitpuller reads the query."""
    path, branch = "teil 1/ü & co.ipynb", "term/2026"
    links = launch_links(ELSEWHERE, branch, path, hub="https://hub.example.org")
    binder, puller = urlsplit(links["Binder"]), urlsplit(links["nbgitpuller"])
    assert [unquote(part) for part in binder.path.split("/")[2:]] == ["git", ELSEWHERE, branch]
    assert unquote(parse_qs(binder.query)["urlpath"][0]) == f"lab/tree/{path}"
    asked = parse_qs(puller.query)
    assert (asked["repo"], asked["branch"]) == ([ELSEWHERE], [branch])
    assert unquote(asked["urlpath"][0]) == f"lab/tree/lessons/{path}"


@pytest.mark.usefixtures("doors_only")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(repository="vit-steps"), "repository must be an address such as https://HOST/OWNER/NAME"),
        (dict(path="../b.ipynb"), "path must lie in the repository, such as a/b.ipynb, got '../b.ipynb'"),
        (dict(branch="-d"), "branch must be one line that begins with no dash, got '-d'"),
        (dict(hub="hub"), "hub must be an address"),
    ],
)
def test_what_is_no_link_is_refused(change, words):
    good = dict(repository=HERE, branch="main", path=PATH)
    with pytest.raises(ValueError, match=words):
        launch_links(**good | change)
