"""Two-factor log-in: set up, confirmed, taken off."""

from __future__ import annotations

from models import User
from resources.base import LOGGED_IN, Resource, endpoint
from schemas import accounts as shapes
from schemas.common import Message
from services import two_factor_setup as setup
from services.credentials import WrongPassword
from services.limits import TooManyAttempts
from services.two_factor_setup import Standing
from utils import qr


class TwoFactorDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=shapes.TwoFactorOut)
    def get(self, actor: User) -> Standing:
        """Whether it is on, and how many recovery codes are left."""
        return setup.get_standing(actor)

    @endpoint(
        access=LOGGED_IN,
        body=shapes.Proof,
        returns=shapes.TwoFactorSecret,
        status=201,
        errors=(WrongPassword, TooManyAttempts, setup.TwoFactorOn),
    )
    def post(self, actor: User, body: shapes.Proof) -> shapes.TwoFactorSecret:
        """Start to set it up: a secret for an app. It is on once the app's code is confirmed."""
        started = setup.start(actor=actor, password=body.password)
        picture = qr.svg(started.url, is_any=True).decode()
        return shapes.TwoFactorSecret(secret=started.secret, url=started.url, qr_svg=picture)


class TwoFactorConfirmation(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=shapes.AppCode,
        returns=shapes.RecoveryCodes,
        errors=(setup.TwoFactorNotStarted, setup.TwoFactorOn, setup.WrongCode),
    )
    def post(self, actor: User, body: shapes.AppCode) -> shapes.RecoveryCodes:
        """Turn it on with the code that the app shows; answers ten recovery codes."""
        return shapes.RecoveryCodes(recovery_codes=setup.confirm(actor=actor, code=body.code))


class RecoveryCodeList(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=shapes.Proof,
        returns=shapes.RecoveryCodes,
        status=201,
        errors=(WrongPassword, TooManyAttempts, setup.TwoFactorOff),
    )
    def post(self, actor: User, body: shapes.Proof) -> shapes.RecoveryCodes:
        """Ten new recovery codes; those before work no more."""
        codes = setup.renew_recovery_codes(actor=actor, password=body.password, code=body.code)
        return shapes.RecoveryCodes(recovery_codes=codes)


class TwoFactorRemoval(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=shapes.Proof,
        returns=Message,
        errors=(WrongPassword, TooManyAttempts, setup.TwoFactorOff),
    )
    def post(self, actor: User, body: shapes.Proof) -> Message:
        """Turn it off, with the password and a code."""
        setup.turn_off(actor=actor, password=body.password, code=body.code)
        return Message(message="Two-factor log-in is off.")
