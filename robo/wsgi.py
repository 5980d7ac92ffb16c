"""The server's entry: `gunicorn 'robo.wsgi:application()'` builds everything after the fork."""

from flask import Flask

from baskets.catalog import catalog
from robo import config
from robo.app import create_app
from robo.runtime import boot, keep_heap, warm_kernels


def application() -> Flask:
    """Return the application of this process, from its environment."""
    app = create_app(boot(config.read()))
    # No request should wait for what every request may need.
    warm_kernels()
    catalog()
    keep_heap()
    return app
