"""Signing up, logging in, looking somebody up."""

from __future__ import annotations

from flask import request

from models import Role, User
from resources.base import ADMINS, PUBLIC, Resource, endpoint
from schemas import accounts as shapes
from services import accounts
from services.accounts import PhoneTaken
from services.credentials import WrongCredentials
from services.email_addresses import EmailTaken
from services.limits import TooManyAttempts
from services.log_in_limits import Caller
from services.passwords import WeakPassword
from services.sessions import AccountBanned
from utils import http, tokens


class SignUp(Resource):
    @endpoint(
        access=PUBLIC,
        body=shapes.SignUp,
        returns=shapes.Session,
        status=201,
        errors=(EmailTaken, PhoneTaken, WeakPassword),
    )
    def post(self, _actor: User | None, body: shapes.SignUp) -> shapes.Session:
        """Open an account as an attendee or an organizer."""
        facts = body.model_dump() | {"role": Role(body.role)}
        user = accounts.sign_up(**facts)
        opened = accounts.open_first_session(user, user_agent=http.user_agent())
        return shapes.Session.of(user, access_token=opened.access_token, refresh_token=opened.refresh_token)


class LogIn(Resource):
    @endpoint(
        access=PUBLIC,
        body=shapes.LogIn,
        returns=shapes.Session,
        errors=(WrongCredentials, AccountBanned, TooManyAttempts),
    )
    def post(self, _actor: User | None, body: shapes.LogIn) -> shapes.Session:
        """Exchange e-mail address and password, and the code of an app where one is set up, for tokens."""
        opened = accounts.log_in(
            email=body.email,
            password=body.password,
            code=body.code,
            user_agent=http.user_agent(),
            caller=Caller(address=request.remote_addr, held_token_of=tokens.read_holder()),
        )
        return shapes.Session.of(opened.user, access_token=opened.access_token, refresh_token=opened.refresh_token)


class UserDetail(Resource):
    @endpoint(access=ADMINS, returns=shapes.UserOut)
    def get(self, _actor: User, user_id: int) -> User:
        """One user."""
        return accounts.get_user(user_id)
