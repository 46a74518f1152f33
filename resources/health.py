"""Is it up, and can it work."""

from __future__ import annotations

from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.common import Message
from services import readiness


class Home(Resource):
    @endpoint(access=PUBLIC, returns=Message)
    def get(self, _actor: User | None) -> Message:
        """A greeting."""
        return Message(message="Welcome to Ticksy's API.")


class Health(Resource):
    is_never_flooded = True

    @endpoint(access=PUBLIC, returns=Message)
    def get(self, _actor: User | None) -> Message:
        """The process answers. Touches nothing else."""
        return Message(message="Ticksy is up.")


class Readiness(Resource):
    is_never_flooded = True

    @endpoint(access=PUBLIC, returns=Message)
    def get(self, _actor: User | None) -> Message:
        """The database answers and its schema is the code's."""
        readiness.check()
        return Message(message="Ticksy is ready.")
