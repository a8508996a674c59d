"""A small tea shop, the application that the demo, the documentation and the integration tests profile.

What lives here: the application factory. The pages are in ``pages``, the JSON in ``api``, the tables in ``models``.

Run it from the ``examples`` folder with ``flask --app shop run`` or ``gunicorn 'shop:create_app()'``. Profiling stays
closed unless ``FLASK_ENV=development`` and ``PROFILING_ENABLED=true`` are set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from flask_profiling import Profiling

from . import database
from .api import api
from .pages import pages
from .pricing import euros


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    """Build the shop.

    ``config`` goes over the defaults and over variables such as ``SHOP_DATABASE``, an SQLAlchemy URL
    (default: ``shop.sqlite3`` in Flask's instance folder). The database is created and filled when it is empty.
    """
    app = Flask(__name__)
    app.config["DATABASE"] = f"sqlite:///{Path(app.instance_path, 'shop.sqlite3')}"
    app.config.from_prefixed_env("SHOP")
    app.config.from_mapping(config)

    database.init_app(app)
    app.register_blueprint(pages)
    app.register_blueprint(api)
    app.add_template_filter(euros)

    Profiling(app)
    return app
