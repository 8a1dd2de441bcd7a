"""What holds for all tests."""

from __future__ import annotations

import signal

# Started in the background of a shell, the tests would ignore Ctrl-C, and so would every process that they start: those
# that are to be interrupted, and Ray's workers, whose tasks Ray cancels in the same way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
