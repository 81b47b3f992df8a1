"""Run the migrations online, one transaction each, under a lock that lets one release process work at a time."""

from alembic import context
from sqlalchemy import Connection, text

from service.config import Config
from service.db.engine import make_engine
from service.db.schema import require_reachable
from service.models import Base

ONE_AT_A_TIME = 0x7062786C  # 'pbxl': two dynos that release at once must not migrate twice


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, include_object=ours)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
        context.run_migrations()


def ours(_thing: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    """Leave the monthly partitions out of comparisons: the clock makes them."""
    return not (kind == "table" and name is not None and name.startswith("call_record_"))


def run_alone() -> None:
    """Migrate the database that the environment names."""
    engine = make_engine(Config.from_environ(), pool_size=1)
    require_reachable(engine)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    run_alone()
