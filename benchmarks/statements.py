"""How many SQL statements a request sends."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from benchmarks.endpoints import AVAILABILITY, CATALOGUE, DETAIL, FREE, FRESH, PLENTY
from benchmarks.scene import Scene
from utils.database import db


def count(scene: Scene) -> dict[str, int]:
    """By endpoint, counted in this process, once what is loaded only the first time is there."""
    address = f"/events/{scene.event_ids[0]}"
    found = {
        FRESH: _count(scene, "GET", CATALOGUE),
        DETAIL: _count(scene, "GET", address),
        AVAILABILITY: _count(scene, "GET", f"{address}/availability"),
    }
    buyer, hots = scene.buyers[-1], [scene.add_hot_type(quantity=PLENTY) for _ in range(2)]
    for hot in hots:
        body = {"tickets": [{"ticket_id": hot.id, "quantity": 1}]}
        found[FREE] = _count(scene, "POST", "/orders", headers={"Authorization": buyer.bearer}, json=body)
    return found


def _count(scene: Scene, method: str, path: str, **request: Any) -> int:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    with scene.app.app_context():
        engine = db.engine
    settings = scene.app.extensions["settings"]
    changes = {"CATALOGUE_CACHE_SECONDS": 0} if "CATALOGUE_CACHE_SECONDS" in type(settings).model_fields else {}
    scene.app.extensions["settings"] = settings.model_copy(update=changes)
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = scene.app.test_client().open(path, method=method, **request)
    finally:
        event.remove(engine, "before_cursor_execute", note)
        scene.app.extensions["settings"] = settings
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)
    return len(statements)
