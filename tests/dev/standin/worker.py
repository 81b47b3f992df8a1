"""A worker that writes a coloured line and dies with code 3 when a file tells it to."""

import sys
import time
from pathlib import Path

sys.stdout.write("\x1b[31mworking\x1b[0m\n")
while not Path("die").exists():
    time.sleep(0.02)
sys.exit(3)
