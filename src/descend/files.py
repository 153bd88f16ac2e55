"""Files that are written whole or not at all, and temporary ones that never stay behind."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from descend.errors import DataError


def check_writable(path: str | os.PathLike[str], endings: Collection[str] = ()) -> None:
    """Raise `DataError` before long work where `path` cannot be a file, or has none of these endings."""
    target = Path(path)
    if target.is_dir():
        raise DataError(f"cannot write {str(target)!r}: it is a folder. Give the name of a file.")
    if not target.parent.is_dir():
        raise DataError(f"cannot write {str(target)!r}: the folder {str(target.parent)!r} is not there.")
    if endings and target.suffix.lower() not in endings:
        raise DataError(f"cannot write {str(target)!r}: its ending must be {' or '.join(endings)}.")


def check_apart(path: str | os.PathLike[str], read: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `DataError` before anything is read where `path`, to be written, is one of the files to read."""
    target = Path(path)
    if target.exists() and any(
        isinstance(file, Path) and file.exists() and target.samefile(file) for file in read
    ):
        raise DataError(
            f"{str(target)!r} is one of the files that are read: give what is written another name."
        )


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` at the end, delete it on an error.

    A reader sees the old file or the new one, never half of one. Raises `DataError` where the
    folder is missing or may not be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "a.txt"
    ...     with replacing(target) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print(target.read_text(), len(os.listdir(folder)))
    whole 1
    """
    target = Path(path)
    check_writable(target)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent or ".", prefix=f".{target.name}.", suffix=target.suffix
        )
    except OSError as error:
        raise DataError(f"cannot write {str(target)!r}: {error.strerror}.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


class TemporaryFile:
    """A file that is deleted when this handle is closed or forgotten, or when the process ends.

    It lies where the environment variable TMPDIR says. Raises `DataError` where it cannot be made.

    >>> file = TemporaryFile(".txt")
    >>> _ = file.path.write_text("gone soon")
    >>> file.close()
    >>> file.path.exists()
    False
    """

    def __init__(self, suffix: str = "") -> None:
        try:
            handle, name = tempfile.mkstemp(prefix="descend-", suffix=suffix)
        except OSError as error:
            raise DataError(
                f"cannot make a temporary file: {error.strerror}. Set TMPDIR to a folder."
            ) from error
        os.close(handle)
        self.path = Path(name)
        self._delete = weakref.finalize(self, self.path.unlink, missing_ok=True)

    def close(self) -> None:
        """Delete the file; closing again does nothing."""
        self._delete()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Delete the file where writing it fails, and say so where the disk is full."""
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                folder = self.path.parent.name
                raise DataError(
                    f"the disk that holds {folder!r} is full: set TMPDIR to a larger one."
                ) from error
            raise
