"""The files that a command writes."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.arguments import FILES
from bench.errors import UsageError


def check(options: argparse.Namespace) -> None:
    """Refuse, before any time is spent, files that could not be written afterwards."""
    for kind in FILES:
        path = asked(options, kind)
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"--{kind} wants a file; {path} is a folder")
        if not path.parent.is_dir():
            raise UsageError(f"--{kind} {path}: there is no folder {path.parent}")
        if kind == "png" and importlib.util.find_spec("matplotlib") is None:
            raise UsageError("--png needs matplotlib; install it with: python -m pip install '.[bench]'")


def asked(options: argparse.Namespace, kind: str) -> Path | None:
    """Look up which file of a kind is wanted."""
    path: Path | None = getattr(options, kind, None)
    return path


def write(path: Path, content: str | bytes) -> None:
    """Write a file, or say in one line why not."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def to_json(record: Mapping[str, Any]) -> str:
    """Write a record as JSON."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
