"""The server's entry: `gunicorn 'robo.wsgi:application()'` builds everything after the fork."""

from flask import Flask

from baskets.catalog import catalog
from robo import config
from robo.app import create_app
from robo.portfolio import kernels
from robo.runtime import boot


def application() -> Flask:
    """Return the application of this process, from its environment."""
    app = create_app(boot(config.read()))
    # No request should wait for what every request may need.
    kernels.warm()
    catalog()
    return app
