"""Where one is logged in, and how that goes on or ends."""

from __future__ import annotations

from sqlalchemy import Select

from models import Session, User
from resources.base import LOGGED_IN, PUBLIC, Resource, endpoint
from schemas import accounts as shapes
from schemas.common import Message, Nothing, Page
from services import sessions
from utils import tokens

_LOGGED_OUT = "You are logged out."


class SessionRefresh(Resource):
    # The refresh token is the permission, whoever's access token comes with it.
    @endpoint(
        access=PUBLIC,
        body=shapes.Refresh,
        returns=shapes.Session,
        errors=(sessions.SessionEnded, sessions.RefreshTokenReused, sessions.AccountBanned),
    )
    def post(self, _actor: User | None, body: shapes.Refresh) -> shapes.Session:
        """Exchange a refresh token for new tokens; the one that was sent is used up."""
        opened = sessions.refresh(body.refresh_token)
        return shapes.Session.of(opened.user, access_token=opened.access_token, refresh_token=opened.refresh_token)


class SessionList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[shapes.SessionOut])
    def get(self, actor: User, query: Page) -> Select[tuple[Session]]:
        """Where one is logged in, last used first."""
        return sessions.list_sessions(actor=actor, current_id=tokens.session_id())


class SessionDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=Message)
    def delete(self, actor: User, session_id: int) -> Message:
        """Log out there, at once."""
        sessions.end(actor=actor, session_id=session_id)
        return Message(message="That session has ended.")


class LogOut(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=Message)
    def post(self, actor: User, body: Nothing) -> Message:
        """Log out here: the tokens of this session work no more."""
        sessions.end(actor=actor, session_id=tokens.session_id())
        return Message(message=_LOGGED_OUT)


class LogOutEverywhere(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=Message)
    def post(self, actor: User, body: Nothing) -> Message:
        """Log out here and everywhere else."""
        sessions.log_out_everywhere(actor)
        return Message(message=_LOGGED_OUT)
