"""Uploaded pictures."""

from __future__ import annotations

from flask import Response, send_from_directory

from config import settings
from models import User
from resources.base import PUBLIC, Resource, endpoint


class Picture(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("image/webp",))
    def get(self, _actor: User | None, name: str) -> Response:
        """An event's picture. Its name never comes back with another content, so it may be kept for good."""
        response = send_from_directory(settings.UPLOAD_DIR, f"{name}.webp", max_age=31_536_000)
        response.cache_control.public = True
        return response
