"""Signing up, logging in, looking somebody up."""

from __future__ import annotations

from flask import request

from models import Role, User
from resources.base import ADMINS, PUBLIC, Resource, endpoint
from schemas import accounts as shapes
from services import accounts
from services.accounts import EmailTaken, PhoneTaken
from services.limits import TooManyAttempts
from services.log_in_limits import Caller
from utils import tokens
from utils.errors import Unauthenticated


class SignUp(Resource):
    @endpoint(access=PUBLIC, body=shapes.SignUp, returns=shapes.Session, status=201, errors=(EmailTaken, PhoneTaken))
    def post(self, _actor: User | None, body: shapes.SignUp) -> shapes.Session:
        """Open an account as an attendee or an organizer."""
        facts = body.model_dump() | {"role": Role(body.role)}
        user = accounts.sign_up(**facts)
        return shapes.Session.of(user, tokens.issue(user.id))


class LogIn(Resource):
    @endpoint(
        access=PUBLIC,
        body=shapes.LogIn,
        returns=shapes.Session,
        errors=(Unauthenticated, accounts.AccountBanned, TooManyAttempts),
    )
    def post(self, _actor: User | None, body: shapes.LogIn) -> shapes.Session:
        """Exchange e-mail address and password for an access token."""
        caller = Caller(address=request.remote_addr, held_token_of=tokens.read_holder())
        user = accounts.log_in(email=body.email, password=body.password, caller=caller)
        return shapes.Session.of(user, tokens.issue(user.id))


class UserDetail(Resource):
    @endpoint(access=ADMINS, returns=shapes.UserOut)
    def get(self, _actor: User, user_id: int) -> User:
        """One user."""
        return accounts.get_user(user_id)
