"""Does not listen to SIGTERM, and neither does its child, which even makes a session of its own."""

import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
time.sleep(600)
