"""Everybody's accounts: what admins look up and decide."""

from __future__ import annotations

from sqlalchemy import Select

from models import AccountStatus, Role, User
from resources.base import ADMINS, Resource, endpoint
from schemas.accounts import UserOut
from schemas.users import NewRole, NewStatus, UserSearch
from services import users


class UserList(Resource):
    @endpoint(access=ADMINS, query=UserSearch, returns=list[UserOut])
    def get(self, _actor: User, query: UserSearch) -> Select[tuple[User]]:
        """Everybody with an account, newest first."""
        role = Role(query.role) if query.role else None
        status = AccountStatus(query.status) if query.status else None
        return users.list_users(words=query.q, role=role, status=status)


class UserStatus(Resource):
    @endpoint(access=ADMINS, body=NewStatus, returns=UserOut)
    def patch(self, actor: User, user_id: int, body: NewStatus) -> User:
        """Ban somebody, whatever token they hold, or let them in again."""
        return users.set_status(actor=actor, user_id=user_id, status=AccountStatus(body.status))


class UserRole(Resource):
    @endpoint(access=ADMINS, body=NewRole, returns=UserOut)
    def patch(self, actor: User, user_id: int, body: NewRole) -> User:
        """Change what somebody may do; it acts at once."""
        return users.set_role(actor=actor, user_id=user_id, role=Role(body.role))
