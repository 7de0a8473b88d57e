"""The HTTP interface over a small world under the replay clock: what happened stands in its tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask.testing import FlaskClient

from api.app import create_app
from api.settings import Settings
from api.wiring import House, build
from tests.conftest import make_key
from tests.world import MIN, START_MS, World

PUBLIC_URL = "https://near.example"


@contextmanager
def replayed(url: str) -> Iterator[tuple[World, FlaskClient, House]]:
    """A world, a client with all scopes, and the house of both; now is the newest ping's instant."""
    house = build(Settings(database_url=url, clock="replay", public_url=PUBLIC_URL))
    house.clock.saw(START_MS - 60 * MIN)
    world = World(house.engine, house.clock)
    app = create_app(house)
    from api.routes import clicks, explain, inbox, reports, visits  # routes are read after `create_app`

    for module in (inbox, clicks, reports, explain, visits):
        if module.bp.name not in app.blueprints:
            app.register_blueprint(module.bp)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {make_key(house)}"
    yield world, client, house
    house.engine.dispose()
