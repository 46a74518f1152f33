"""The gate: scanning tickets, with or without a network, and who may."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy import Select

from models import Direction, GatePass, User
from resources.base import AT_THE_GATE, ORGANIZERS, Resource, endpoint
from schemas.common import Message, Nothing, Page
from schemas.gate import (
    GateCountsOut,
    GatePassOut,
    ManifestOut,
    ManifestQuery,
    NewGatePass,
    NewGatePassOut,
    ScanAnswers,
    ScanUpload,
    UndoneOut,
    to_json,
)
from services import gate_counts, gate_passes, manifests, scans
from services.gate_passes import Gatekeeper
from utils import http
from utils.errors import NotFound

#: As many scans as an upload may have.
_MAX_BYTES = 512 * 1024
_REFUSALS = (
    NotFound,
    gate_passes.GatePassUnknown,
    gate_passes.GatePassExpired,
    gate_passes.GatePassRevoked,
)


class ScanList(Resource):
    @endpoint(access=AT_THE_GATE, body=ScanUpload, returns=ScanAnswers, max_bytes=_MAX_BYTES, errors=_REFUSALS)
    def post(self, actor: Gatekeeper, body: ScanUpload) -> dict[str, Any]:
        """Scan a ticket, or upload up to 500 scans made without a network; each is answered, and kept."""
        presented = [_presented(**one) for one in body.each()]
        answers = scans.record_scans(actor=actor, event_id=body.event_id, scans=presented)
        return {"results": answers, "double_entries": [one for one in answers if one.scan.is_conflict]}


class ScanUndoing(Resource):
    @endpoint(
        access=AT_THE_GATE,
        body=Nothing,
        returns=UndoneOut,
        errors=(*_REFUSALS, scans.NothingToUndo, scans.ScannedSince),
    )
    def post(self, actor: Gatekeeper, scan_id: int, body: Nothing) -> scans.Undone:
        """Take back the last scan of a ticket; with a gate pass, one that was made with it."""
        return scans.undo_scan(actor=actor, scan_id=scan_id)


class Manifest(Resource):
    @endpoint(access=AT_THE_GATE, query=ManifestQuery, returns=ManifestOut, errors=_REFUSALS)
    def get(self, actor: Gatekeeper, query: ManifestQuery) -> manifests.Manifest:
        """What a device needs to check tickets without a network, or what of it changed since an earlier answer."""
        return manifests.read_manifest(actor=actor, event_id=query.event_id, since=query.since, page=query.page)


class GateCounts(Resource):
    @endpoint(access=AT_THE_GATE, returns=GateCountsOut, errors=_REFUSALS)
    def get(self, actor: Gatekeeper, event_id: int) -> Response:
        """How many are in at this moment, by ticket type, gate and minute. To be asked again with its ETag."""
        counts = gate_counts.read_counts(actor=actor, event_id=event_id)
        return http.answer_cacheable(to_json(counts), max_age=0, is_public=False)


class GatePassList(Resource):
    @endpoint(access=ORGANIZERS, query=Page, returns=list[GatePassOut])
    def get(self, actor: User, event_id: int, query: Page) -> Select[tuple[GatePass]]:
        """The gate passes of one's own event, newest first, without their secrets."""
        return gate_passes.list_passes(actor=actor, event_id=event_id)

    @endpoint(access=ORGANIZERS, body=NewGatePass, returns=NewGatePassOut, status=201)
    def post(self, actor: User, event_id: int, body: NewGatePass) -> gate_passes.NewPass:
        """Make a gate pass for somebody without an account; its secret is shown this once."""
        return gate_passes.make_pass(
            actor=actor, event_id=event_id, name=body.name, gates=body.gates, expires_at=body.expires_at
        )


class GatePassDetail(Resource):
    @endpoint(access=ORGANIZERS, returns=Message)
    def delete(self, actor: User, event_id: int, pass_id: int) -> Message:
        """Take a gate pass back, at once."""
        gate_passes.revoke_pass(actor=actor, event_id=event_id, pass_id=pass_id)
        return Message(message="The gate pass does not work any more.")


def _presented(direction: str, offline: bool | None = None, **rest: Any) -> scans.Presented:
    return scans.Presented(direction=Direction(direction), is_offline=offline, **rest)
