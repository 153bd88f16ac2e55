"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descend.errors import DataError


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
    if target.is_dir():
        raise DataError(f"cannot write {str(target)!r}: it is a folder. Give the name of a file.")
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent or ".", prefix=f".{target.name}.", suffix=target.suffix
        )
    except OSError as error:
        raise DataError(f"cannot write {str(target)!r}: {error.strerror}. Is the folder there?") from error
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
