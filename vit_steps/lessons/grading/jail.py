"""A process shut in: on Linux by namespaces, so that it has no network, no other processes and no disk.

It sees Python and this package, read-only, and a home of its own in memory, which ends with it. It is the
first process of a world of processes: when it is killed, the kernel kills all that it started. As root it
becomes a user that owns nothing; as anybody else it keeps the user and loses every capability. Where the
system lets nobody do this (macOS, Windows, many containers), ``why`` says so.
"""

import ctypes
import errno
import os
import signal
import site
import socket
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    *(0x20000, 0x4000000, 0x8000000),
    *(0x10000000, 0x20000000, 0x40000000),
)
PRIVATE, BIND, RECURSIVE, NO_SUID, NO_DEV = 1 << 18, 1 << 12, 1 << 14, 2, 4
MOUNT_SETATTR, FROM_HERE, AT_RECURSIVE, DETACH = 442, -100, 0x8000, 2
READ_ONLY_ATTRIBUTES = 1 | 2 | 4  # read-only, no set-uid, no devices
DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38
STRANGER = 64_000  # the first user id that a trial runs as under root; nothing belongs to it
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/localtime")
PACKAGE = Path(__file__).resolve().parents[2]
DEVICES = ("null", "zero", "random", "urandom")


class Limits(NamedTuple):
    """What one notebook may take.

    Attributes:
        seconds: for each cell and each answer.
        total: for the whole notebook, in seconds.
        memory: bytes, beyond what Python and torch take.
        disk: bytes of its home, which lies in memory.
        processes: at the same time.
    """

    seconds: float = 20.0
    total: float = 90.0
    memory: int = 2 * 2**30
    disk: int = 64 * 2**20
    processes: int = 24


class JailError(OSError):
    """The system refuses a part of it."""


def enter(limits: Limits, root: str, keep: tuple[int, int]) -> int:
    """Fork a process into a world of its own.

    Args:
        limits: what it may take.
        root: an empty folder, on which its disk is put.
        keep: the two descriptors that stay open; its standard ones become /dev/null.

    Returns:
        0 inside; outside, the process id, to be killed and waited for.

    Raises:
        JailError: inside or outside, "unshare: Operation not permitted".
    """
    parent = os.getpid()
    user, group = os.geteuid(), os.getegid()
    _checked("unshare", _libc().unshare(_kinds(user)))
    if user:
        _keep_user(user, group)
    child = os.fork()
    if child:
        return child
    _die_with(parent)
    _close_all_but(keep)
    _build(Path(root), limits)
    _drop(user, parent)
    hold(limits)
    _die_with(None)  # a change of user forgot it
    return 0


def hold(limits: Limits) -> None:
    """Limit what every POSIX system can limit."""
    import resource

    wanted = {
        "RLIMIT_CPU": int(limits.total) + 5,
        "RLIMIT_FSIZE": limits.disk,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_DATA": _taken("VmData") + limits.memory,
        "RLIMIT_AS": _taken("VmSize") + limits.memory + 2**30,
        "RLIMIT_NPROC": limits.processes,
    }
    for name, number in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None and (sys.platform == "linux" or name not in ("RLIMIT_NPROC", "RLIMIT_AS")):
            resource.setrlimit(kind, (number, number))


def _taken(what: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 2**31
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(what: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise JailError(number, f"{what}: {os.strerror(number)}")


def _kinds(user: int) -> int:
    return NEW_NS | NEW_UTS | NEW_IPC | NEW_PID | NEW_NET | (NEW_USER if user else 0)


def _keep_user(user: int, group: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            Path(f"/proc/self/{name}").write_text(text)
        except OSError as error:
            raise JailError(error.errno, f"{name}: {error.strerror}") from None


def _die_with(parent: int | None) -> None:
    """Be killed when the one who started this ends, however it ends."""
    _libc().prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getpid() != 1 and os.getppid() != parent:
        os._exit(1)


def _close_all_but(keep: tuple[int, int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    last = 2
    for kept in sorted(keep):
        os.closerange(last + 1, kept)
        last = kept
    os.closerange(last + 1, 65_536)


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, options)]
    source_, target_, kind_, options_ = words
    _checked(f"mount {target}", _libc().mount(source_, target_, kind_, flags, options_))


def _build(root: Path, limits: Limits) -> None:
    """Put a disk together that holds Python, and turn away from the real one."""
    _mount("none", Path("/"), None, RECURSIVE | PRIVATE)
    size = f"size={limits.disk},nr_inodes=20000,mode=755"
    _mount("tmpfs", root, "tmpfs", NO_SUID | NO_DEV, size)
    for path in seen():
        _show(root, path)
    for name in DEVICES:
        _bind(Path("/dev", name), root / "dev" / name)
    for folder in ("home/student", "tmp", "proc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        os.chmod(root / folder, 0o1777)
    with suppress(JailError):  # a container that hides a part of it lets nobody see it afresh
        _mount("proc", root / "proc", "proc", NO_SUID | NO_DEV)
    _turn_to(root)


def seen() -> list[Path]:
    """What a notebook sees of the disk: the system's programs, Python, its packages, and this one."""
    places = [*SYSTEM, sys.base_prefix, sys.prefix, *site.getsitepackages()]
    places += [place for place in sys.path if place.endswith("-packages")]
    found = [Path(place) for place in places] + [PACKAGE]
    return [path for path in dict.fromkeys(found) if path.exists() and path != Path("/")]


def _show(root: Path, path: Path) -> None:
    place = root / path.relative_to("/")
    if place.exists() or place.is_symlink():
        return  # within one that is shown already
    if path.is_symlink():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.readlink())
        path = path.resolve()
        place = root / path.relative_to("/")
        if place.exists():
            return
    _bind(path, place)
    _read_only(place)


def _bind(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir() if path.is_dir() else place.touch()
    _mount(str(path), place, None, BIND | RECURSIVE)


def _read_only(place: Path) -> None:
    wanted = struct.pack("QQQQ", READ_ONLY_ATTRIBUTES, 0, 0, 0)
    path = ctypes.c_char_p(os.fsencode(place))
    result = _libc().syscall(MOUNT_SETATTR, FROM_HERE, path, AT_RECURSIVE, wanted, len(wanted))
    _checked(f"mount_setattr {place}", result)


def _turn_to(root: Path) -> None:
    os.chdir(root)
    _checked("pivot_root", _libc().pivot_root(b".", b"."))
    _checked("umount2", _libc().umount2(b".", DETACH))
    os.chdir("/home/student")


def _drop(user: int, number: int) -> None:
    """Lose what root may do, for good."""
    if user == 0:
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        stranger = STRANGER + number % 1000  # one of its own, whose processes are counted
        os.setresuid(stranger, stranger, stranger)
    header, nothing = struct.pack("II", 0x20080522, 0), bytes(24)
    _checked("capset", _libc().capset(header, nothing))
    _checked("prctl", _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def why(limits: Limits) -> str | None:
    """Try it: shut a process in that tries to get out, and say what went wrong; None when nothing did."""
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    (hear, say), root = os.pipe(), tempfile.mkdtemp(prefix="vit-steps-")
    outer = os.fork()
    if not outer:
        _try(limits, root, say)
    os.close(say)
    with open(hear, encoding="utf-8") as file:
        found = file.read()
    os.waitpid(outer, 0)
    os.rmdir(root)
    return None if found == "held" else found or "a process could not be shut in"


def works(limits: Limits) -> bool:
    """Whether a process can be shut in here."""
    return why(limits) is None


def _try(limits: Limits, root: str, say: int) -> NoReturn:
    try:
        inner = enter(limits, root, (say, say))
        if inner:
            os.waitpid(inner, 0)
        else:
            os.write(say, _holes().encode())
    except BaseException as error:
        os.write(say, str(error).encode())
    os._exit(0)


def _holes() -> str:
    """What a process in here can do and should not; "held" when that is nothing."""
    with suppress(OSError):
        (PACKAGE / "written").touch()
        return "a notebook could write into the package"
    reached = True
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()
    except OSError as error:
        reached = error.errno != errno.ENETUNREACH  # "refused" would come from somebody
    if reached:
        return "a notebook could reach the network"
    Path("home").write_text("fine")
    return "held"
