"""The server's entry: `gunicorn 'robo.wsgi:application()'` builds everything after the fork."""

from flask import Flask

from robo import config
from robo.app import create_app
from robo.runtime import boot


def application() -> Flask:
    """Return the application of this process, from its environment."""
    return create_app(boot(config.read()))
