"""Builds and runs the load generator; its result is the one JSON line that it prints."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
BUILD = Path(__file__).parents[2] / ".bench"


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator measured; `group` is one pipeline's worth of frames and its answers."""

    frames: int
    ids: int
    seconds: float
    frames_per_s: float
    ids_per_s: float
    ids_true: int
    ids_false: int
    group_p50_us: float
    group_p99_us: float
    generator_cpu_share: float


def build() -> Path:
    """Compile the generator if it is older than its source.

    Raises:
        subprocess.CalledProcessError: the compiler refused it, or there is none.
    """
    binary = BUILD / "loadgen"
    sources = [SOURCE / "loadgen.c", SOURCE / "frames.h", SOURCE / "replies.h"]
    if not binary.exists() or any(source.stat().st_mtime > binary.stat().st_mtime for source in sources):
        BUILD.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-o", binary, sources[0]], check=True)
    return binary


def run(arguments: list[str], cpu: int) -> Load:
    """One run on the given processor.

    Raises:
        RuntimeError: an answer was wrong, or the server went away; the message is the generator's.
    """
    command = ["taskset", "-c", str(cpu), str(build()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return Load(**json.loads(done.stdout))
