"""Every setting: its name, type, default and the rules it must keep. The only reader of the environment.

`FLASK_ENV` decides how strict the rules are. Unset means production, where no secret has a default and every
address must be HTTPS; nothing relaxes that.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from flask import current_app
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from werkzeug.local import LocalProxy

from utils import config_rules
from utils.callers import SAFARICOM
from utils.config_rules import CALLBACK_PATH, DARAJA, SIMULATED, SIMULATED_C2B_SECRET, SIMULATED_INITIATOR
from utils.database import normalise_url

ROOT = Path(__file__).resolve().parent
#: What Ticksy writes beside its code: uploads, the embedded database, the development secret.
INSTANCE = ROOT / "instance"

#: Written by the simulator itself.
SIMULATED_CERTIFICATE = INSTANCE / "simulator" / "certificate.cer"
#: Whose pages may call a developer's server by default: the frontend as it is developed, and as it is deployed.
FRONTEND = [
    "http://localhost:5173",
    "http://127.0.0.1:5173",
    "http://localhost:4173",
    "http://127.0.0.1:4173",
    "https://ticksy-frontend.vercel.app",
]


class ConfigurationError(SystemExit):
    """The settings are wrong. Ends the process with every fault named, one a line."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("Ticksy cannot start:\n" + "\n".join(f"  - {fault}" for fault in faults))


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_Item = TypeVar("_Item")
#: Comma-separated in the environment.
ListOf = Annotated[list[_Item], BeforeValidator(_split)]


class Settings(BaseModel):
    """One field for each variable of `.env.example`."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    #: development (loopback only, simulator) | testing | staging (Safaricom's sandbox) | production
    FLASK_ENV: Literal["development", "testing", "staging", "production"] = "production"
    #: Empty in development: an embedded PostgreSQL under instance/.
    DATABASE_URL: str = Field("", repr=False)
    #: Signs tokens. At least 32 characters; in development made at random and kept under instance/.
    SECRET_KEY: str = Field("", repr=False)
    #: What SECRET_KEY was before, comma-separated: what these signed still counts, and nothing new is signed with them.
    SECRET_KEYS_OLD: ListOf[str] = Field([], repr=False)
    #: The only source of absolute addresses.
    PUBLIC_URL: str = ""
    #: Addresses of frontends, comma-separated. No wildcard.
    CORS_ORIGINS: ListOf[str] = []
    #: Where people use Ticksy; messages link to its pages. Empty: the first of CORS_ORIGINS, or PUBLIC_URL.
    FRONTEND_URL: str = ""
    PORT: int = Field(5000, ge=1, le=65535)

    MPESA_CONSUMER_KEY: str = Field("", repr=False)
    MPESA_CONSUMER_SECRET: str = Field("", repr=False)
    MPESA_SHORTCODE: str = ""
    MPESA_PASSKEY: str = Field("", repr=False)
    MPESA_BASE_URL: str = ""
    #: Paybill, or Buy Goods with a till.
    MPESA_TRANSACTION_TYPE: Literal["CustomerPayBillOnline", "CustomerBuyGoodsOnline"] = "CustomerPayBillOnline"
    #: The till, for Buy Goods; empty is the shortcode.
    MPESA_PARTY_B: str = ""
    #: The API user that sends refunds, its password, the day that was set (it ends after 90), and Safaricom's
    #: certificate. Without them, refunds wait for a person to send them.
    MPESA_INITIATOR_NAME: str = ""
    MPESA_INITIATOR_PASSWORD: str = Field("", repr=False)
    MPESA_INITIATOR_PASSWORD_SET_ON: date | None = None
    MPESA_CERTIFICATE: Path | None = None
    #: 32 hexadecimal digits in the addresses Safaricom tells of Paybill payments. Empty: no Paybill.
    MPESA_C2B_SECRET: str = Field("", repr=False)
    #: Addresses and networks whose posts are believed; elsewhere Safaricom's own. `any` believes all.
    MPESA_CALLBACK_ADDRESSES: ListOf[str] = []
    #: Proxies between the internet and us; so many, and no more, are believed about who called.
    TRUSTED_PROXIES: int = Field(0, ge=0, le=10)
    #: Pushes of all processes together; 0 is no limit. And how long one may wait for its turn.
    MPESA_MAX_PUSHES_PER_SECOND: float = Field(5, ge=0)
    PUSH_QUEUE_SECONDS: float = Field(120, ge=0, le=3600)
    #: How often M-PESA's list of our transactions is pulled; 0 is never.
    PULL_MINUTES: float = Field(15, ge=0)
    #: What the list does not show when it reaches so far beyond it was never there.
    LISTED_WITHIN_MINUTES: float = Field(60, gt=0)
    #: Where alerts to admins are posted. Empty: they stand in the log and in their list.
    ALERT_URL: str = Field("", repr=False)
    #: Who takes our e-mail, smtp://user:password@host:port, and whom it is from. Empty: no e-mail is written.
    MAIL_URL: str = Field("", repr=False)
    MAIL_FROM: str = ""
    #: Who takes our text messages. Empty: none are written.
    SMS_URL: str = Field("", repr=False)
    #: Where Safaricom posts results: https://yourdomain.com/api/payment/callback
    CALLBACK_URL: str = ""
    #: Seconds to wait for Daraja to take the connection, and to answer.
    MPESA_CONNECT_SECONDS: float = Field(5, gt=0, le=60)
    MPESA_ANSWER_SECONDS: float = Field(20, gt=0, le=60)

    #: How long places are held for an order.
    HOLD_MINUTES: float = Field(10, gt=0, le=120)
    #: How long a prompt may stay on a phone; only after it may another one replace an unanswered one.
    PROMPT_SECONDS: float = Field(120, gt=0, le=600)
    #: A prompt leaves at least so long to answer it, whatever is left of the hold, within so much more than the hold.
    PROMPT_GRACE_MINUTES: float = Field(3, ge=0, le=60)
    HOLD_EXTENSION_MINUTES: float = Field(10, ge=0, le=120)
    PROMPTS_PER_ORDER: int = Field(3, ge=1)
    PROMPTS_PER_PHONE_AND_HOUR: int = Field(5, ge=1)
    #: Whatever phones they go to, and whatever becomes of them.
    PROMPTS_PER_BUYER_AND_HOUR: int = Field(20, ge=1)
    OPEN_ORDERS_PER_EVENT: int = Field(2, ge=1)
    #: A silent payment is asked about so many seconds after its prompt, one pause after the other, the last repeated.
    QUERY_PAUSES_SECONDS: ListOf[Annotated[float, Field(gt=0, le=86_400)]] = Field(
        [15, 15, 15, 30, 30, 60, 300, 900, 3600], min_length=1
    )
    QUERY_FOR_HOURS: float = Field(24, gt=0)
    #: The public callback address makes us ask about a payment at most this often.
    HINT_PAUSE_SECONDS: float = Field(10, ge=0)
    #: How long a request with an Idempotency-Key is answered as it was the first time.
    IDEMPOTENCY_HOURS: float = Field(24, gt=0)
    #: Codes of M-PESA payments one account may claim in 24 hours.
    CLAIMS_PER_DAY: int = Field(5, ge=1)
    #: How often the worker looks for work.
    WORKER_PAUSE_SECONDS: float = Field(1, gt=0, le=60)

    #: Whether tries are counted and floods turned away; never without where people are real.
    RATELIMIT_ENABLED: bool = True
    #: Requests of one address in a minute, of which a mobile carrier's may be that of thousands.
    RATELIMIT_PER_MINUTE: int = Field(3000, ge=1)
    #: Where several machines count requests together, redis://…. Empty: each process counts its own.
    REDIS_URL: str = Field("", repr=False)

    #: After so many days the people are taken out of raw payment messages.
    MESSAGE_RETENTION_DAYS: float = Field(365, ge=30)
    #: So many days after an event, those without an account are taken out of its tickets and orders.
    ATTENDEE_RETENTION_DAYS: float = Field(90, ge=30)
    ACCESS_TOKEN_MINUTES: int = Field(1440, ge=15, le=1440)
    #: How long a session lasts that is not refreshed.
    REFRESH_TOKEN_DAYS: int = Field(30, ge=1, le=365)
    #: Whether an event is approved only once its organizer has confirmed the e-mail address. Empty: where MAIL_URL is.
    REQUIRE_VERIFIED_EMAIL: bool | None = None
    #: bcrypt's cost: each step doubles the time.
    BCRYPT_ROUNDS: int = Field(12, ge=4, le=16)
    UPLOAD_DIR: Path = INSTANCE / "uploads"
    IMAGE_MAX_MB: float = Field(5, gt=0, le=25)

    #: How long the catalogue's pages are kept as ready bytes. Empty: 1 in staging and production, else 0.
    CATALOGUE_CACHE_SECONDS: float | None = Field(None, ge=0, le=60)
    WEB_WORKERS: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    #: Requests one worker serves at once. A push waits on Safaricom for seconds, so this is many.
    WEB_THREADS: int = Field(160, ge=1)
    #: Live streams one worker keeps open, each of which takes a thread; never more than a third of its threads.
    STREAMS_PER_WORKER: int = Field(64, ge=0)
    #: How long one may last; its reader comes again by itself.
    STREAM_MINUTES: float = Field(30, gt=0, le=1440)
    #: How long a server that is told to stop waits for the requests under way; a push may take 25.
    STOP_SECONDS: int = Field(30, ge=1, le=300)
    #: Database connections of one process.
    DATABASE_POOL: int = Field(16, ge=2)
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: Empty: for programs in staging and production, else for a person.
    LOG_FORMAT: Literal["json", "text", ""] = ""

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The one that signs and seals, then those of before, which only verify and open."""
        return (self.SECRET_KEY, *self.SECRET_KEYS_OLD)

    @property
    def is_local(self) -> bool:
        """Whether no real money and no real person is near."""
        return self.FLASK_ENV in ("development", "testing")

    @property
    def secrets(self) -> set[str]:
        """What no log may tell: every setting that is not printed, and the passwords within addresses."""
        hidden = [name for name, field in type(self).model_fields.items() if not field.repr]
        values = [getattr(self, name) for name in hidden]
        texts = {text for value in values for text in ([value] if isinstance(value, str) else value)}
        return texts | set(config_rules.passwords(texts))

    @property
    def frontend_url(self) -> str:
        """Where pages for people are, without a slash at its end."""
        return (self.FRONTEND_URL or next(iter(self.CORS_ORIGINS), self.PUBLIC_URL)).rstrip("/")

    @property
    def most_streams(self) -> int:
        """Live streams of one worker: the other threads are for everybody else."""
        return min(self.STREAMS_PER_WORKER, self.WEB_THREADS // 3)

    @property
    def paybill_number(self) -> str | None:
        """Where buyers may pay by hand; None where they may not. A till takes no account number, so that money paid to
        it names no order."""
        if not self.MPESA_C2B_SECRET or self.MPESA_TRANSACTION_TYPE == "CustomerBuyGoodsOnline":
            return None
        return self.MPESA_PARTY_B or self.MPESA_SHORTCODE


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings. Raises ConfigurationError naming all that is wrong with them."""
    given = {name: value for name, value in (os.environ if environ is None else environ).items() if value.strip()}
    unreadable: dict[str, str] = {}
    try:
        read = Settings.model_validate(given)
    except ValidationError as error:
        unreadable = {str(fault["loc"][0]): fault["msg"].lower() for fault in error.errors()}
        # Go on with the rest, to name every fault at once.
        read = Settings.model_validate({name: value for name, value in given.items() if name not in unreadable})
    # What depends on other settings is filled in on a copy, so that Settings stays immutable.
    settings = read.model_copy(update=_derived(read))
    faults = [f"{name}: {what}" for name, what in unreadable.items()] + config_rules.faults(settings)
    if faults:
        raise ConfigurationError(faults)
    return settings


def _derived(read: Settings) -> dict[str, Any]:
    public_url = read.PUBLIC_URL
    values: dict[str, Any] = {}
    if read.is_local:
        public_url = public_url or f"http://127.0.0.1:{read.PORT}"
        values = {name: getattr(read, name) or default for name, default in SIMULATED.items()}
        values["MPESA_BASE_URL"] = read.MPESA_BASE_URL or "http://127.0.0.1:5001"
        values["CALLBACK_URL"] = read.CALLBACK_URL or public_url + CALLBACK_PATH
        values["CORS_ORIGINS"] = read.CORS_ORIGINS or FRONTEND
        values["SECRET_KEY"] = read.SECRET_KEY or _development_secret()
        if not (read.MPESA_INITIATOR_NAME or read.MPESA_INITIATOR_PASSWORD or read.MPESA_CERTIFICATE):
            values["MPESA_INITIATOR_NAME"], values["MPESA_INITIATOR_PASSWORD"] = SIMULATED_INITIATOR
            values["MPESA_CERTIFICATE"] = SIMULATED_CERTIFICATE
        values["MPESA_C2B_SECRET"] = read.MPESA_C2B_SECRET or SIMULATED_C2B_SECRET
    else:
        values["MPESA_CALLBACK_ADDRESSES"] = read.MPESA_CALLBACK_ADDRESSES or SAFARICOM
        values["MPESA_BASE_URL"] = read.MPESA_BASE_URL or DARAJA[read.FLASK_ENV]
    if "any" in values.get("MPESA_CALLBACK_ADDRESSES", read.MPESA_CALLBACK_ADDRESSES):
        values["MPESA_CALLBACK_ADDRESSES"] = []
    if read.REQUIRE_VERIFIED_EMAIL is None:
        values["REQUIRE_VERIFIED_EMAIL"] = bool(read.MAIL_URL)
    if read.CATALOGUE_CACHE_SECONDS is None:
        values["CATALOGUE_CACHE_SECONDS"] = 0 if read.is_local else 1
    values["LOG_FORMAT"] = read.LOG_FORMAT or ("text" if read.is_local else "json")
    values["PUBLIC_URL"] = public_url.rstrip("/")
    values["CALLBACK_URL"] = values.get("CALLBACK_URL", read.CALLBACK_URL).rstrip("/")
    values["MPESA_BASE_URL"] = values["MPESA_BASE_URL"].rstrip("/")
    values["DATABASE_URL"] = normalise_url(read.DATABASE_URL)
    return values


def _development_secret() -> str:
    """A random secret of this checkout, the same for all its processes. Written whole or not at all."""
    path = INSTANCE / "secret_key"
    if not path.exists():
        INSTANCE.mkdir(exist_ok=True)
        draft = path.with_name(f"secret_key.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")


#: The running app's settings.
settings: Settings = LocalProxy(lambda: current_app.extensions["settings"])  # type: ignore[assignment]
