"""The guardian: `python -m harness.backends.ssh.host.guardian DIRECTORY WARDEN SILENCE_S`, started by the warden.

It hears one byte a second on its standard input. When the warden is gone (kill -9, out of memory) or silent for
SILENCE_S (stopped), the guardian undoes every fault, ends the nodes, and leaves their files for collection.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from harness.backends.ssh.host.inforce import InForce, alive, signal_process

LOG = "guardian.log"
GONE = "the warden is gone"
END_S = 5.0


def watch(descriptor: int, silence_s: float) -> str:
    """Block until the warden is gone or silent; why, in words."""
    while True:
        if not select.select([descriptor], [], [], silence_s)[0]:
            return f"the warden said nothing for {silence_s:g} s"
        if not os.read(descriptor, 4096):
            return GONE


def main() -> int:
    """Entry point."""
    directory, warden, silence_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    why = watch(sys.stdin.fileno(), silence_s)
    state = InForce.load(directory)
    if state.closed:
        return 0
    deadline = time.monotonic() + (END_S if why == GONE else 0)
    while alive(warden) and time.monotonic() < deadline:  # its pipe closes a moment before it is gone
        time.sleep(0.01)
    signal_process(warden, signal.SIGKILL)  # one that is only stopped must not come back and cut again
    done = state.heal()
    with (directory / LOG).open("a") as log:  # at once: the harness waits for it, and an engine takes its time
        log.write(f"{why}: {'; '.join(done) or 'nothing was in force'}\n")
    left = state.end_nodes()
    if left:
        with (directory / LOG).open("a") as log:
            log.writelines(f"{line}\n" for line in left)
    return 0


if __name__ == "__main__":
    sys.exit(main())
