"""The command `mmret`, also as `python -m mmret`: Ctrl-C ends it in silence from its first import on."""

from __future__ import annotations

import sys

from mmret._interruption import INTERRUPTED, Interruption


def main() -> None:
    """Load the command line, which takes a while, and run it."""
    interruption = Interruption()
    try:
        interruption.listen()
        from mmret.cli import main as run

        run()
    except BaseException:
        interruption.end()
        if not interruption.came:
            raise
    interruption.end()
    if interruption.came:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
