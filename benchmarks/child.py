"""A measurement in a process of its own: its wall time and its peak of memory, and nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

PRELUDE = '''
import json, re, resource, sys, time, warnings
warnings.simplefilter("ignore")
arguments = json.loads(sys.argv[1])

def peak():
    """The most bytes that this process has held so far."""
    try:  # ru_maxrss would start from the parent's memory where the child was made by vfork
        with open("/proc/self/status") as status:
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) * 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

'''


@dataclass(frozen=True)
class Child:
    """What a child process has found."""

    peak: int
    """Bytes."""
    result: dict[str, Any]


def run(code: str, **arguments: Any) -> Child:
    """Run `code`, which finds `arguments`, may call `peak()`, and leaves a dict `result`."""
    whole = f"{PRELUDE}{code}\nprint()\nprint(json.dumps([peak(), result]))"
    command = [sys.executable, "-c", whole, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"a child process ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Child(*json.loads(done.stdout.splitlines()[-1]))


def megabytes(size: float) -> str:
    """Bytes in MB of 10**6."""
    return f"{size / 1e6:,.0f} MB"
