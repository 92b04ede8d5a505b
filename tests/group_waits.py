"""What a test starts in a Python of its own, interrupts, and in the end kills.

It imports little, and so is soon there."""

import os
import signal
import sys
from pathlib import Path

from mnist_basics.workshop import processes


def wait_for_ever(folder):
    """Say that we run; then do nothing, as one that waits for a gradient."""
    Path(folder, str(os.getpid())).touch()
    signal.pause()


def main(folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    processes.IMPORTED[:] = [processes.__name__]
    for name in ("interrupted", "killed"):
        try:
            Path(folder, name).mkdir()
            processes.start(wait_for_ever, 2, f"{folder}/{name}")
        except KeyboardInterrupt as error:
            print(error, file=sys.stderr, flush=True)
