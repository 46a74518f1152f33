"""Reviews of an event."""

from __future__ import annotations

from sqlalchemy import Select

from models import Review, User
from resources.base import LOGGED_IN, PUBLIC, Resource, endpoint
from schemas.common import Message, Page
from schemas.reviews import NewReview, ReviewChanges, ReviewOut
from services import reviews


class ReviewList(Resource):
    @endpoint(access=PUBLIC, query=Page, returns=list[ReviewOut], conditional=True)
    def get(self, actor: User | None, event_id: int, query: Page) -> Select[tuple[Review]]:
        """What people say of an event, newest first."""
        return reviews.list_reviews(actor=actor, event_id=event_id)

    @endpoint(access=LOGGED_IN, body=NewReview, returns=ReviewOut, status=201)
    def post(self, actor: User, event_id: int, body: NewReview) -> Review:
        """Review an event one holds a ticket for, once it has started."""
        return reviews.write_review(actor=actor, event_id=event_id, rating=body.rating, comment=body.comment)

    @endpoint(access=LOGGED_IN, body=ReviewChanges, returns=ReviewOut)
    def put(self, actor: User, event_id: int, body: ReviewChanges) -> Review:
        """Change one's own review."""
        return reviews.change_review(actor=actor, event_id=event_id, changes=body.given())

    @endpoint(access=LOGGED_IN, returns=Message)
    def delete(self, actor: User, event_id: int) -> Message:
        """Take one's own review back."""
        reviews.delete_review(actor=actor, event_id=event_id)
        return Message(message="Your review has been deleted.")
