"""How the scripts of train/ and eval/ end: a user's mistake is one line and an exit code, as with the command."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

from mmret.cli.exit_codes import CANNOT_CONTINUE, INTERRUPTED
from mmret.cli.printing import note, sentence, shown
from mmret.errors import MmretError

HEAD_START_S = 2.0


class _Notes(logging.Handler):
    """Shows what the library logs, wherever stderr is at that moment: a progress bar moves it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        note(f"mmret: {shown(record.getMessage())}")


def run_script(main: Callable[[], int | None]) -> None:
    """Run the main function of a script and leave with its exit code, with 3 after an error that a user can act on.

    Of several processes of accelerate only the first one tells. Where a training run starts, goes on and ends is told
    as well.
    """
    first = os.environ.get("RANK", "0") == "0"
    if first:
        library = logging.getLogger("mmret")
        library.addHandler(_Notes())
        library.setLevel(logging.INFO)
        library.propagate = False
    try:
        code = main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (MmretError, OSError) as error:
        if first:
            note(f"mmret: {shown(sentence(error))}")
        else:
            # the launcher ends all processes as soon as one has ended, and the first one has something to say
            time.sleep(HEAD_START_S)
        sys.exit(CANNOT_CONTINUE)
    sys.exit(code)
