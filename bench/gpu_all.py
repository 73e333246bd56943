"""``python -m bench.gpu_all``: the subcommand of this name, by the path that is promised."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.__main__ import main as _main


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything that a CUDA machine is needed for."""
    return _main(["gpu_all", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
