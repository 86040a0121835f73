"""Figures kept beside the code and out of git: one JSON line a run in var/bench-history.jsonl."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def keep(bench: str, **figures: Any) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "bench": bench,
        "load": [round(load, 2) for load in os.getloadavg()],
        **figures,
    }
    path = ROOT / "var" / "bench-history.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
