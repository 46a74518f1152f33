"""What people are told: what admins see of it, and what people choose to hear."""

from __future__ import annotations

from flask import Response, make_response, render_template
from sqlalchemy import Select

from models import Notification, NotificationKind, NotificationState, User
from resources.base import ADMINS, LOGGED_IN, PUBLIC, Resource, endpoint
from schemas.common import Nothing
from schemas.notifications import NotificationOut, NotificationSearch, PreferenceChanges, Preferences
from services import notifications, preferences

#: The page has one form, which comes back to it, and nothing of anybody else's.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_IN_WORDS = {
    NotificationKind.EVENT_REMINDER: "reminders of events that you have tickets for",
    NotificationKind.REVIEW_INVITATION: "invitations to review events that you went to",
}


class NotificationList(Resource):
    @endpoint(access=ADMINS, query=NotificationSearch, returns=list[NotificationOut])
    def get(self, _actor: User, query: NotificationSearch) -> Select[tuple[Notification]]:
        """What people were told, or are still to be told, newest first."""
        return notifications.list_notifications(
            kind=NotificationKind(query.kind) if query.kind else None,
            state=NotificationState(query.state) if query.state else None,
            recipient=query.recipient,
        )


class NotificationRetry(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=NotificationOut)
    def post(self, actor: User, notification_id: int, body: Nothing) -> Notification:
        """Send one that failed, or was dropped, after all; to the address that its account has now."""
        return notifications.retry(actor=actor, notification_id=notification_id)


class MyPreferences(Resource):
    @endpoint(access=LOGGED_IN, returns=Preferences)
    def get(self, actor: User) -> Preferences:
        """Which messages one gets, of those that are not about one's own orders and events."""
        return Preferences(**preferences.get_preferences(actor))

    @endpoint(access=LOGGED_IN, body=PreferenceChanges, returns=Preferences)
    def put(self, actor: User, body: PreferenceChanges) -> Preferences:
        """Choose; what is left out stays as it is."""
        return Preferences(**preferences.change_preferences(actor=actor, changes=body.given()))


class Unsubscribe(Resource):
    # The signed address is the permission, whoever's token comes with it.
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None, choice: str) -> Response:
        """A page with a button that ends messages of one kind; to look at it, as mail programs do, ends nothing."""
        return _page(preferences.read_choice(choice), is_done=False)

    @endpoint(access=PUBLIC, returns=None, produces=("text/html",), takes_anything=True)
    def post(self, _actor: User | None, choice: str) -> Response:
        """End messages of that kind: the page's button, and the one click of mail programs (RFC 8058)."""
        return _page(preferences.unsubscribe(choice), is_done=True)


def _page(kind: NotificationKind, *, is_done: bool) -> Response:
    response = make_response(render_template("unsubscribe.html", what=_IN_WORDS[kind], is_done=is_done))
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Robots-Tag"] = "noindex"
    return response
