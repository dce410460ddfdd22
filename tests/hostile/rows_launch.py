"""What a teacher writes by hand: addresses, branches and paths."""

from hostile.kinds import Kind, constants
from hostile.rows_files import scratch
from hostile.trial import Row
from vit_steps.lessons.editions.making import make_edition
from vit_steps.lessons.launch import first_cell, launch_links

OPTIONS = constants("--user", " -r", "a\nb", "a\0b", b"bytes")
NO_ADDRESS = OPTIONS | constants(
    *("example.org/a/b", "ftp://example.org/a/b", "https://", "https://[/a/b", "https://example.org/a b"),
    *("https://example.org/a/b?c=d", "javascript:alert(1)//a/b"),
)
NO_REPOSITORY = NO_ADDRESS | constants(
    "https://example.org", "https://example.org/a", "https://example.org//a/"
)
A_NAME = {"'nonsense'": "a name like any other"}

NO_LESSONS = constants(["6"], ["real"], ["../2_cls_token"], [""], ["2", "all the rest"])
ALONE = {"''": "none is named"}


def edition():
    addresses = dict(install="vit-steps", repository="https://example.org/a/b", branch="main", hub="")
    folder = scratch() / "edition"
    return dict(kind="student", lessons=["2"], folder=folder, outputs="keep", **addresses, force=True)


ROWS = {
    "lessons.editions.making.make_edition": Row(
        make_edition,
        edition,
        own={
            "lessons": NO_LESSONS | {"none": Kind(lambda good: [])},
            "folder": {"a file": Kind(lambda good: scratch() / "broken.safetensors")},
            "install": OPTIONS,
            "repository": NO_REPOSITORY,
            "branch": OPTIONS,
            "hub": NO_ADDRESS,
        },
        fine={
            "install": A_NAME | ALONE,
            "branch": A_NAME,
            "repository": ALONE,
            "hub": ALONE,
            "folder": {"not there": "made where there is none"},
        },
        refusals=(OSError,),
        seen=lambda arguments, result: [path.read_bytes() for path in result],
    ),
    "lessons.launch.first_cell": Row(
        first_cell, lambda: dict(address="vit-steps"), own={"address": OPTIONS}, fine={"address": A_NAME}
    ),
    "lessons.launch.launch_links": Row(
        launch_links,
        lambda: dict(
            repository="https://example.org/a/b", branch="main", path="c.ipynb", hub="https://hub.example.org"
        ),
        own={
            "repository": NO_REPOSITORY,
            "branch": OPTIONS,
            "path": OPTIONS | constants("/etc/passwd", "../a", "a/../b", "a\\b"),
            "hub": NO_ADDRESS,
        },
        fine={"branch": A_NAME, "path": A_NAME, "hub": {"''": "none is named"}},
    ),
}
