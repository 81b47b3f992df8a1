"""A worker that writes a coloured line and dies with code 3 when a file tells it to."""

import sys
import time
from pathlib import Path

print("\x1b[31mworking\x1b[0m")
while not Path("die").exists():
    time.sleep(0.02)
sys.exit(3)
