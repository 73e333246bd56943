"""``python -m xpconv`` is the command ``xpconv``."""

from xpconv.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
