"""What every job of a worker process works with, made once, and whether the process has been asked to stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import Engine

from service.config import Config
from service.db.engine import make_engine
from service.doorbell import Doorbell, connect
from service.tally import Tally
from service.webhooks.claim import Rotation

POOL_SIZE = 4  # a drain needs one connection, a dispatcher some: claims and records go on side by side

stopping = threading.Event()


@dataclass(frozen=True, slots=True)
class Runtime:
    """The services of a worker process."""

    config: Config
    engine: Engine
    doorbell: Doorbell
    tally: Tally
    rotation: Rotation = field(default_factory=Rotation)


@cache
def runtime() -> Runtime:
    """The runtime of this process. Raises Misconfigured."""
    config = Config.from_environ()
    redis = connect(config)
    return Runtime(config, make_engine(config, pool_size=POOL_SIZE), Doorbell(redis), Tally(redis))
