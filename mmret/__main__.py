"""The command `mmret`, also as `python -m mmret`: Ctrl-C ends it in silence from its first import on."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Load the command line, which takes a while, and run it."""
    try:
        from mmret.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
