"""Zip archives, which numpy and torch write their weights into: looked through within limits."""

import zipfile
from collections import Counter
from io import BufferedReader
from typing import Any

from vit_steps.files.reading import MOST_TENSORS

MOST_DIRECTORY = 2 * 2**20  # bytes; a zip archive has about 60 for each of its files


def members_of(file: BufferedReader) -> list[zipfile.ZipInfo]:
    """Name the files in an archive; its directory is not read when it is longer than that of any weights.

    Raises:
        ValueError: "its directory has more than 2,097,152 bytes", "it holds 'a.npy' twice".
    """
    zipfile.ZipFile(_Directory(file)).close()
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    twice = [name for name, count in Counter(each.filename for each in members).items() if count > 1]
    if twice:
        raise ValueError(f"it holds {twice[0]!r:.80} twice")
    return members


class _Directory:
    """The file as zipfile reads its directory: in one piece, which must not be too long."""

    def __init__(self, file: BufferedReader):
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        content = self.file.read(count if 0 <= count <= MOST_DIRECTORY else MOST_DIRECTORY + 1)
        if len(content) > MOST_DIRECTORY:
            raise ValueError(f"its directory has more than {MOST_DIRECTORY:,} bytes")
        return content

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """The file is still wanted."""


def check_unpacked(members: list[zipfile.ZipInfo], most: int) -> None:
    """Refuse what would become much more than it is.

    Raises:
        ValueError: "it unpacks to 80,000,000,000 bytes, at most 16,800,000 are believed of a file so small".
    """
    unpacked = sum(each.file_size for each in members)
    if unpacked > most:
        raise ValueError(
            f"it unpacks to {unpacked:,} bytes, at most {most:,} are believed of a file so small"
        )
    if len(members) > MOST_TENSORS:
        raise ValueError(f"it holds {len(members):,} files, at most {MOST_TENSORS:,} are read here")


def size_of(file: BufferedReader) -> int:
    """Tell how many bytes a file has; it stands at its end afterwards."""
    return file.seek(0, 2)


def fill(file: Any, memory: memoryview) -> None:
    """Read a file of an archive into memory that is just as long.

    Raises:
        ValueError: "it ends too soon".
    """
    done = 0
    while count := file.readinto(memory[done : done + 2**20]):
        done += count
    if done < len(memory) or file.read(1):  # at its end the archive compares the check sum
        raise ValueError("it ends too soon")
