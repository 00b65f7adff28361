"""All layers of the door around an application, from the outside in."""

from __future__ import annotations

from adcopilot_edge.runtime.daemon.door.answers import Answers
from adcopilot_edge.runtime.daemon.door.asgi import App
from adcopilot_edge.runtime.daemon.door.body import BodyLimit
from adcopilot_edge.runtime.daemon.door.load import LoadLimit
from adcopilot_edge.runtime.daemon.door.origin import HostCheck
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings


def guard(app: App, settings: HttpSettings) -> App:
    """The application behind the limits of ``settings``; who asks is for its own ``Gate``."""
    app = BodyLimit(app, settings)
    app = LoadLimit(app, settings)
    app = HostCheck(app, settings)
    return Answers(app)
