"""How a route gets at the daemon."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from adcopilot_edge.runtime.daemon.live_feed import LiveFeed
from adcopilot_edge.runtime.daemon.record_pictures import RecordPictures
from adcopilot_edge.runtime.daemon.station import StationDaemon


def _daemon(request: Request) -> StationDaemon:
    daemon: StationDaemon = request.app.state.daemon
    return daemon


def _feed(request: Request) -> LiveFeed:
    feed: LiveFeed = request.app.state.feed
    return feed


def _pictures(request: Request) -> RecordPictures:
    pictures: RecordPictures = request.app.state.pictures
    return pictures


Daemon = Annotated[StationDaemon, Depends(_daemon)]
Feed = Annotated[LiveFeed, Depends(_feed)]
Pictures = Annotated[RecordPictures, Depends(_pictures)]
