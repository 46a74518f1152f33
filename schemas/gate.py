"""What devices at a gate send and read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasPath, ConfigDict, Field, StringConstraints, model_validator

from schemas.common import EMPTY_IS_NONE, Answer, Flag, Label, Moment, Request, RowId, Text, When, Word, refuse

#: Scans of one upload.
MOST_SCANS = 500
_Name = Annotated[Label | None, EMPTY_IS_NONE]
#: Whatever a scanner read: a QR code holds no more. Only its hash is kept of what is no ticket.
_Scanned = Annotated[str, StringConstraints(min_length=1, max_length=7_100)]
_Typed = Annotated[Text, Field(max_length=100)]
#: The device's own name for a scan, such as a UUID: the same one is the same scan.
_Nonce = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{16,64}$"), Field(examples=["7f3a9c52e1b04d68"])]


def _check_is_named(token: str | None, code: str | None) -> None:
    if (token is None) == (code is None):
        raise refuse("Please give either the token of a QR code or a code that was typed.")


class ScanIn(Request):
    """One scan: a `token` out of a QR code, or a `code` that was typed."""

    token: _Scanned | None = None
    code: _Typed | None = None
    direction: Literal["in", "out"] = "in"
    #: By the device's clock; now, when left out or later than that.
    scanned_at: Annotated[Moment | None, EMPTY_IS_NONE] = None
    nonce: _Nonce
    gate: _Name = None
    device: _Name = None
    #: Whether the device let its holder in without asking; judged by the time it took to arrive, when left out.
    offline: Annotated[Flag | None, EMPTY_IS_NONE] = None

    @model_validator(mode="after")
    def _check_is_one(self) -> ScanIn:
        _check_is_named(self.token, self.code)
        return self


class ScanUpload(Request):
    """One scan, or up to 500 as `scans`; `gate` and `device` are then those of all that name none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": 1,
                    "gate": "North",
                    "device": "Wanjiru's phone",
                    "scans": [{"code": "TK7P-4M2Q-9XWD", "direction": "in", "nonce": "7f3a9c52e1b04d68"}],
                }
            ]
        }
    )

    #: Left out by a gate pass, which is for one event.
    event_id: Annotated[RowId | None, EMPTY_IS_NONE] = None
    gate: _Name = None
    device: _Name = None
    scans: Annotated[list[ScanIn], Field(min_length=1, max_length=MOST_SCANS)] | None = None
    token: _Scanned | None = None
    code: _Typed | None = None
    direction: Literal["in", "out"] | None = None
    scanned_at: Annotated[Moment | None, EMPTY_IS_NONE] = None
    nonce: _Nonce | None = None
    offline: Annotated[Flag | None, EMPTY_IS_NONE] = None

    @model_validator(mode="after")
    def _check_is_one_or_many(self) -> ScanUpload:
        one = {name: getattr(self, name) for name in _OF_ONE if getattr(self, name) is not None}
        if self.scans is None:
            if self.nonce is None:
                raise refuse("Please give a nonce, 16 to 64 characters that no other scan has.")
            _check_is_named(self.token, self.code)
            self.scans = [ScanIn(**one)]
        elif one:
            raise refuse("Please give either one scan or a list of scans.")
        return self

    def each(self) -> list[dict[str, Any]]:
        """The scans, each with its gate and device."""
        common = {"gate": self.gate, "device": self.device}
        told = [one.model_dump(exclude_none=True) for one in self.scans or []]
        return [common | one for one in told]


_OF_ONE = ("token", "code", "direction", "scanned_at", "nonce", "offline")


class ScanOut(Answer):
    """What became of a scan. `holder` and `ticket_type` are null for what is no ticket of the event."""

    id: int = Field(validation_alias=AliasPath("scan", "id"))
    #: Null for one that no device sent.
    nonce: str | None = Field(validation_alias=AliasPath("scan", "nonce"))
    #: `ok`, or why not.
    result: Word = Field(validation_alias=AliasPath("scan", "result"))
    message: str
    #: A double entry: a device without network let in who was in already.
    is_conflict: bool = Field(validation_alias=AliasPath("scan", "is_conflict"))
    direction: Word = Field(validation_alias=AliasPath("scan", "direction"))
    ticket_id: int | None = Field(validation_alias=AliasPath("scan", "ticket_id"))
    holder: str | None
    ticket_type: str | None
    scanned_at: When = Field(validation_alias=AliasPath("scan", "scanned_at"))
    gate: str | None = Field(validation_alias=AliasPath("scan", "gate"))
    #: When its holder came in first, and through which gate.
    used_at: When | None = Field(validation_alias=AliasPath("scan", "used_at"))
    used_gate: str | None = Field(validation_alias=AliasPath("scan", "used_gate"))


class ScanAnswers(Answer):
    #: In the order in which they were sent.
    results: list[ScanOut]
    #: Those of them that are conflicts.
    double_entries: list[ScanOut]


class UndoneOut(Answer):
    """`changed` is false when it was taken back already."""

    message: str
    changed: bool = Field(validation_alias="is_changed")
    scan: ScanOut = Field(validation_alias="answered")


# ── Passes ────────────────────────────────────────────────────────────────────────────────────────────────────────


class NewGatePass(Request):
    #: Whose it is, or which phone's.
    name: Label
    #: Where it works; everywhere, when left out.
    gates: Annotated[list[Label], Field(default_factory=list, max_length=50)]
    #: As long as the event's gates are open, when left out.
    expires_at: Annotated[Moment | None, EMPTY_IS_NONE] = None


class GatePassOut(Answer):
    id: int
    name: str
    #: Empty: all of them.
    gates: list[str]
    #: Null: as long as the event's gates are open.
    expires_at: When | None
    revoked_at: When | None
    #: When it scanned last.
    last_used_at: When | None
    created_at: When


class NewGatePassOut(Answer):
    """`secret`, `link` and `qr_text` are shown this once."""

    gate_pass: GatePassOut
    secret: str
    #: To open on the phone.
    link: str
    #: To show as a QR code: the link.
    qr_text: str = Field(validation_alias="link")


# ── Manifest ──────────────────────────────────────────────────────────────────────────────────────────────────────


class ManifestQuery(Request):
    #: Left out by a gate pass.
    event_id: Annotated[RowId | None, EMPTY_IS_NONE] = None
    #: The `cursor` of an earlier answer: only what changed after it.
    since: Annotated[str, StringConstraints(pattern=r"^[0-9]{13}$"), Field(examples=["1924967400000"])] | None = None
    #: The `next_page` of the answer before.
    page: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[0-9]{13}-[0-9]{1,18}-[0-9]{1,18}$"),
            Field(examples=["1924967400000-0-0"]),
        ]
        | None
    ) = None


class ManifestEvent(Answer):
    id: int
    title: str
    status: Word
    starts_at: When
    ends_at: When
    allows_reentry: bool


class ManifestType(Answer):
    id: int
    name: str


#: Ticket id, rotation, state, ticket type id, and what its code is looked up by.
ManifestTicket = Annotated[
    tuple[int, int, Literal["valid", "in", "out", "void", "refunded"], int, str],
    Field(examples=[[1, 1, "valid", 1, "uZ0pKc2bq3Zr8g"]]),
]


SupersededHash = Annotated[tuple[int, str], Field(examples=[[1, "k3Vw0aB1mQ9tXg"]])]


class ManifestPass(Answer):
    name: str
    #: Empty: all of them.
    gates: list[str]


class ManifestOut(Answer):
    """An event for devices without network."""

    event: ManifestEvent
    #: That with which it was asked for.
    gate_pass: ManifestPass | None
    #: From when, and until when, its tickets let people in.
    opens_at: When
    closes_at: When
    #: Ed25519 public keys, 32 bytes each in base64, the newest first.
    keys: list[str]
    ticket_types: list[ManifestType]
    tickets: list[ManifestTicket]
    #: Codes that these tickets had before they were issued anew: ticket id, and what the code is looked up by.
    superseded: list[SupersededHash]
    #: To send as `since` next time.
    cursor: str
    #: To send as `page`, with the same `since`, for the rest; null on the last page.
    next_page: str | None


# ── Counts ────────────────────────────────────────────────────────────────────────────────────────────────────────


class TypeCountOut(Answer):
    id: int
    type: str = Field(validation_alias="name")
    #: Those that are good.
    tickets: int
    #: Whose holders came in; `out` are those of them who went out since.
    in_: int = Field(validation_alias="entered", serialization_alias="in")
    out: int = Field(validation_alias="left")
    inside: int


class GateCountOut(Answer):
    #: Null for scans that named none.
    gate: str | None
    in_: int = Field(validation_alias="entered", serialization_alias="in")
    out: int = Field(validation_alias="left")
    refused: int
    double_entries: int


class MinuteCountOut(Answer):
    minute: When
    in_: int = Field(validation_alias="entered", serialization_alias="in")
    out: int = Field(validation_alias="left")


class GateCountsOut(Answer):
    tickets: int
    in_: int = Field(validation_alias="entered", serialization_alias="in")
    out: int = Field(validation_alias="left")
    inside: int
    double_entries: int
    ticket_types: list[TypeCountOut]
    gates: list[GateCountOut]
    #: Of the last hour, those in which somebody went through a gate.
    minutes: list[MinuteCountOut]


def to_json(counts: object) -> bytes:
    """A GateCountsOut as it is sent: equal ones are the same bytes."""
    return GateCountsOut.model_validate(counts).model_dump_json(by_alias=True).encode()
