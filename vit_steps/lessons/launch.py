"""Ways into a lesson from a browser alone: the first cell for Colab, and links that start it elsewhere.

Nothing here knows where the package is published: whoever makes an edition says it.
"""

import re
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from vit_steps.doors import door

WIDGETS = "anywidget>=0.9.18"  # as in pyproject.toml; Colab brings an ipywidgets that it must keep
CELL = """# Where the package is missing, as on Colab: fetch it, and let its widgets draw.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("vit_steps") is None:
    wanted = [{address}, "{widgets}"]
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", *wanted])
    importlib.invalidate_caches()
if "google.colab" in sys.modules:
    from google.colab import output

    output.enable_custom_widget_manager()
"""
WEB = re.compile(r"https?://[\w.-]+(:\d+)?(/[^\s?#]*)?$")
BINDER = {"github.com": "gh", "gitlab.com": "gl"}  # what Binder calls those that it knows by name


def _word(name: str, value: Any) -> str:
    """Refuse what is no text in one line, and what pip or git would read as an option."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, not {type(value).__name__}")
    if not value.strip() or not value.isprintable() or value.lstrip().startswith("-"):
        raise ValueError(f"{name} must be one line that begins with no dash, got {value!r:.80}")
    return value


def _web_address(name: str, value: Any) -> str:
    """Refuse what is no address of a page on the web."""
    if not WEB.match(_word(name, value)):
        raise ValueError(f"{name} must be an address such as https://HOST/OWNER/NAME, got {value!r:.80}")
    return value


def _repository(name: str, value: Any) -> str:
    """Refuse what is no address of a repository: an owner and a name at least."""
    if len(_owner_and_name(_web_address(name, value)).split("/")) < 2:
        raise ValueError(f"{name} must be an address such as https://HOST/OWNER/NAME, got {value!r:.80}")
    return value


def _path(name: str, value: Any) -> str:
    """Refuse what is no path inside a repository."""
    if _word(name, value).startswith("/") or "\\" in value or ".." in value.split("/"):
        raise ValueError(f"{name} must lie in the repository, such as a/b.ipynb, got {value!r:.80}")
    return value


def _hub(name: str, value: Any) -> str:
    """Refuse what is neither nothing nor an address."""
    return value if value == "" and isinstance(value, str) else _web_address(name, value)


@door(address=_word)
def first_cell(address: str) -> str:
    """The code of a lesson's first cell for machines that come without the package, Colab above all.

    It is silent where the package is there. Elsewhere pip installs it, with what draws the widgets and
    without JupyterLab, which Colab has in its own way. In each Colab session it switches the widgets on.

    Args:
        address: what pip installs: ``https://…/vit_steps-0.2.0-py3-none-any.whl``, ``git+https://…``, or
            ``vit-steps`` where an index has it.

    Returns:
        Plain Python, no magic: graders that read cells can read it, too.

    Raises:
        TypeError: "address must be a text, not int".
        ValueError: "address must be one line that begins with no dash, got '--user'".
    """
    return CELL.format(address=_literal(address), widgets=WIDGETS)


@door(repository=_repository, branch=_word, path=_path, hub=_hub)
def launch_links(repository: str, branch: str, path: str, *, hub: str = "") -> dict[str, str]:
    """Links that open a notebook of a repository on a machine of somebody else.

    Args:
        repository: its address, ``https://HOST/OWNER/NAME``; with ``.git`` behind it is the same.
        branch: which branch, or tag, of it.
        path: of the notebook in it, with slashes.
        hub: the address of a JupyterHub that has nbgitpuller.

    Returns:
        name -> address. "Binder" is always there; "Colab" reads GitHub alone; "nbgitpuller" is there where
        a hub is named.

    Raises:
        TypeError: "branch must be a text, not int".
        ValueError: "repository must be an address such as https://HOST/OWNER/NAME, got 'vit-steps'", or
            "path must lie in the repository, such as a/b.ipynb, got '../b.ipynb'".
    """
    links = {"Binder": _binder(repository, branch, path)}
    if _host(repository) == "github.com":
        where = quote(f"{_owner_and_name(repository)}/blob/{branch}/{path}")
        links["Colab"] = f"https://colab.research.google.com/github/{where}"
    if hub:
        links["nbgitpuller"] = _nbgitpuller(repository, branch, path, hub)
    return links


def _binder(repository: str, branch: str, path: str) -> str:
    known = BINDER.get(_host(repository))
    if known == "gh":
        source = f"gh/{quote(_owner_and_name(repository))}"
    else:  # Binder takes all else as one part of the path
        named = _owner_and_name(repository) if known else repository
        source = f"{known or 'git'}/{quote(named, safe='')}"
    opened = urlencode({"urlpath": f"lab/tree/{quote(path)}"})
    return f"https://mybinder.org/v2/{source}/{quote(branch, safe='')}?{opened}"


def _nbgitpuller(repository: str, branch: str, path: str, hub: str) -> str:
    folder = _owner_and_name(repository).split("/")[-1]  # nbgitpuller clones into a folder of this name
    opened = f"lab/tree/{quote(f'{folder}/{path}')}"
    asked = urlencode({"repo": repository, "branch": branch, "urlpath": opened})
    return f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{asked}"


def _host(repository: str) -> str:
    return (urlsplit(repository).hostname or "").removeprefix("www.")


def _owner_and_name(repository: str) -> str:
    return urlsplit(repository).path.strip("/").removesuffix(".git")


def _literal(text: str) -> str:
    """A text as Python writes it, in the quotes that the formatter likes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
