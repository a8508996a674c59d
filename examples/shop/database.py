"""The database of one application: its engine, and one SQLAlchemy session per request. The tables are in ``models``."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, current_app, g
from sqlalchemy import Engine, create_engine, func, make_url, select
from sqlalchemy.orm import Session

from .models import Base, Product
from .seed import opening_stock


def init_app(app: Flask) -> None:
    """Give the application an engine of its own and fill the database if nobody has done so yet."""
    url = make_url(app.config["DATABASE"])
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    _fill(engine)
    app.extensions["shop"] = engine
    app.teardown_appcontext(_close)


def engine() -> Engine:
    """The engine of the current application."""
    found: Engine = current_app.extensions["shop"]
    return found


def database() -> Session:
    """The database session of this request, opened when it is first asked for."""
    if "database" not in g:
        g.database = Session(engine())
    found: Session = g.database
    return found


def _close(error: BaseException | None) -> None:
    opened: Session | None = g.pop("database", None)
    if opened is not None:
        opened.close()


def _fill(engine: Engine) -> None:
    with engine.connect() as connection:
        # Several workers start at once: the first to hold SQLite's write lock fills, the others find it done.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            if not session.scalar(select(func.count()).select_from(Product)):
                session.add_all(opening_stock())
            session.commit()
        connection.commit()
    engine.dispose()  # A server may fork now, and an SQLite connection must not cross a fork.
