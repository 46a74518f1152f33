"""The URL table: one line for each resource, with every address it answers to.

The customer's addresses and the frontend's name some things twice; both work.
"""

from __future__ import annotations

import json
from functools import cache

from flask_restful import Api

from config import settings
from resources import (
    accounts,
    admin,
    admin_payments,
    admin_reports,
    admin_users,
    alerts,
    availability,
    calendars,
    claims,
    docs,
    events,
    exports,
    gate,
    gate_page,
    health,
    logs,
    media,
    mpesa,
    notifications,
    openapi,
    orders,
    organizer,
    payments,
    profile,
    reconciliation,
    reviews,
    saved_events,
    ticket_pages,
    ticket_types,
    tickets,
    transfers,
)
from resources.base import Resource

URLS: list[tuple[type[Resource], list[str]]] = [
    (health.Home, ["/"]),
    (health.Health, ["/health"]),
    (health.Readiness, ["/ready"]),
    # Documentation
    (docs.Description, ["/openapi.json"]),
    (docs.DocsPage, ["/docs"]),
    (docs.DocsAsset, ["/docs/assets/<string:asset>"]),
    # Accounts
    (accounts.SignUp, ["/signup"]),
    (accounts.LogIn, ["/login"]),
    (accounts.UserDetail, ["/users/<id:user_id>"]),
    (profile.Profile, ["/profile/me"]),
    (profile.ProfileExport, ["/profile/me/export"]),
    (profile.ConsentList, ["/profile/me/consents"]),
    (notifications.MyPreferences, ["/profile/me/notifications"]),
    (notifications.Unsubscribe, ["/unsubscribe/<signed:choice>"]),
    # Events
    (events.EventList, ["/events"]),
    (events.EventDetail, ["/events/<id:event_id>"]),
    (events.EventCancellation, ["/events/<id:event_id>/cancel"]),
    (events.EventRefundProgress, ["/events/<id:event_id>/refunds"]),
    (availability.EventAvailability, ["/events/<id:event_id>/availability"]),
    (availability.EventAvailabilityStream, ["/events/<id:event_id>/availability/stream"]),
    (events.MyEventList, ["/my-events"]),
    (ticket_types.TicketTypeList, ["/events/<id:event_id>/tickets"]),
    (ticket_types.TicketTypeDetail, ["/events/<id:event_id>/tickets/<id:ticket_type_id>"]),
    (reviews.ReviewList, ["/events/<id:event_id>/reviews", "/events/<id:event_id>/review"]),
    (saved_events.EventSaving, ["/events/<id:event_id>/save"]),
    (saved_events.SavedEventList, ["/my-saved-events"]),
    (media.Picture, ["/media/<secret:name>.webp"]),
    (calendars.EventCalendar, ["/events/<id:event_id>/calendar.ics"]),
    (calendars.PersonalCalendar, ["/calendar/<signed:address>.ics"]),
    (calendars.MyCalendar, ["/profile/me/calendar"]),
    (exports.AttendeeExport, ["/events/<id:event_id>/attendees/export"]),
    (exports.AttendeeExportByLink, ["/events/<id:event_id>/attendees/export/<signed:token>"]),
    (exports.AttendeeExportLink, ["/events/<id:event_id>/attendees/export-link"]),
    # Orders and payments
    (orders.OrderList, ["/orders"]),
    (orders.OrderDetail, ["/orders/<id:order_id>"]),
    (orders.OrderPayment, ["/orders/<id:order_id>/pay"]),
    (orders.NamedOrderPayment, ["/payments"]),
    (orders.OrderRefund, ["/orders/<id:order_id>/refund"]),
    (claims.OrderClaim, ["/orders/<id:order_id>/claim"]),
    (payments.PaymentCheck, ["/payments/check/<secret:poll_id>"]),
    (mpesa.Callback, ["/api/payment/callback/<secret:token>"]),
    (mpesa.Hint, ["/api/payment/callback", "/payments/callback"]),
    (mpesa.RequestResult, ["/api/payment/result/<secret:result_token>"]),
    (mpesa.RequestTimeout, ["/api/payment/timeout/<secret:result_token>"]),
    (mpesa.PaybillValidation, ["/api/payment/c2b/<secret:secret>/validation"]),
    (mpesa.PaybillConfirmation, ["/api/payment/c2b/<secret:secret>/confirmation"]),
    # Tickets
    (tickets.MyTicketList, ["/my-tickets"]),
    (tickets.TicketChecking, ["/tickets/check"]),
    (tickets.TicketDetail, ["/tickets/<code:ticket_code>"]),
    (tickets.TicketQrSvg, ["/tickets/<code:ticket_code>/qr.svg"]),
    (tickets.TicketQrPng, ["/tickets/<code:ticket_code>/qr.png"]),
    (tickets.TicketPdf, ["/tickets/<code:ticket_code>/ticket.pdf"]),
    (transfers.TicketTransfer, ["/tickets/<code:ticket_code>/transfer"]),
    (transfers.TicketReissue, ["/tickets/<code:ticket_code>/reissue"]),
    (transfers.TicketRefundAgreement, ["/tickets/<code:ticket_code>/refund-agreement"]),
    (transfers.TransferPage, ["/transfers/<signed:offer_address>"]),
    (transfers.TransferAccepting, ["/transfers/<signed:offer_address>/acceptance"]),
    (tickets.OrderTicketsPdf, ["/orders/<id:order_id>/tickets.pdf"]),
    (ticket_pages.TicketPage, ["/t/<signed:ticket_address>"]),
    (ticket_pages.TicketPageQrSvg, ["/t/<signed:ticket_address>/qr.svg"]),
    (ticket_pages.TicketPageQrPng, ["/t/<signed:ticket_address>/qr.png"]),
    (ticket_pages.TicketPagePdf, ["/t/<signed:ticket_address>/ticket.pdf"]),
    (ticket_pages.TicketManagement, ["/t/<signed:ticket_address>/manage"]),
    (profile.UpcomingEventList, ["/profile/my-upcoming-events", "/attendee/upcoming-events"]),
    (profile.UpcomingEventDetail, ["/profile/my-upcoming-events/<id:event_id>"]),
    (profile.PastEventList, ["/profile/my-past-events", "/attendee/past-events"]),
    (profile.PastEventDetail, ["/profile/my-past-events/<id:event_id>"]),
    # Organizers
    (organizer.Overview, ["/organizer/overview"]),
    (organizer.Statistics, ["/organizer/stats"]),
    (organizer.AttendeeList, ["/organizer/events/<id:event_id>/attendees"]),
    (organizer.CheckIn, ["/organizer/checkin/<id:ticket_id>"]),
    (organizer.CheckOut, ["/organizer/checkout/<id:ticket_id>"]),
    (transfers.TicketReissueForHolder, ["/organizer/tickets/<id:ticket_id>/reissue"]),
    (transfers.EventTransferList, ["/organizer/events/<id:event_id>/transfers"]),
    # The gate
    (gate.ScanList, ["/checkin/scans"]),
    (gate.ScanUndoing, ["/checkin/scans/<id:scan_id>/undo"]),
    (gate.Manifest, ["/checkin/manifest"]),
    (gate.GateCounts, ["/organizer/events/<id:event_id>/gate"]),
    (gate.GatePassList, ["/organizer/events/<id:event_id>/gate-passes"]),
    (gate.GatePassDetail, ["/organizer/events/<id:event_id>/gate-passes/<id:pass_id>"]),
    (gate_page.GatePage, ["/gate"]),
    (gate_page.GateWorker, ["/gate/worker.js"]),
    (gate_page.GateAsset, ["/gate/assets/<string:asset>"]),
    # Admin
    (admin.PendingEventList, ["/admin/pending"]),
    (admin.EventApproval, ["/admin/approve/<id:event_id>", "/admin/<id:event_id>"]),
    (admin_users.UserList, ["/admin/users"]),
    (admin_users.UserStatus, ["/admin/users/<id:user_id>/status"]),
    (admin_users.UserRole, ["/admin/users/<id:user_id>/role"]),
    (admin_reports.Dashboard, ["/admin/dashboard"]),
    (admin_reports.AnalyticsSummary, ["/admin/analytics/summary"]),
    (admin_reports.SalesTrend, ["/admin/analytics/ticket-sales-trends"]),
    (admin_reports.RevenueByType, ["/admin/analytics/revenue-by-ticket-type"]),
    (admin_reports.TopEvents, ["/admin/analytics/top-events-by-revenue"]),
    (admin_reports.TopCategories, ["/admin/analytics/top-event-types"]),
    (admin_reports.Report, ["/admin/reports"]),
    (logs.LogList, ["/admin/logs"]),
    (admin.AllOrderList, ["/admin/orders"]),
    (admin_payments.PaymentList, ["/admin/payments"]),
    (admin_payments.PaymentDetail, ["/admin/payments/<id:payment_id>"]),
    (admin_payments.PaymentRecheck, ["/admin/payments/<id:payment_id>/recheck"]),
    (admin_payments.PaymentAttachment, ["/admin/payments/<id:payment_id>/attach"]),
    (admin_payments.PaymentRefund, ["/admin/payments/<id:payment_id>/refund"]),
    (admin_payments.PaymentSeen, ["/admin/payments/<id:payment_id>/seen"]),
    (admin_payments.SuspenseList, ["/admin/suspense"]),
    (admin_payments.RefundList, ["/admin/refunds"]),
    (admin_payments.RefundRetry, ["/admin/refunds/<id:refund_id>/retry"]),
    (admin_payments.RefundByHand, ["/admin/refunds/<id:refund_id>/by-hand"]),
    (reconciliation.DayReconciliation, ["/admin/reconciliation"]),
    (claims.ClaimList, ["/admin/claims"]),
    (claims.ClaimClosing, ["/admin/claims/<id:claim_id>/close"]),
    (alerts.AlertList, ["/admin/alerts"]),
    (notifications.NotificationList, ["/admin/notifications"]),
    (notifications.NotificationRetry, ["/admin/notifications/<id:notification_id>/retry"]),
]


def register(api: Api) -> None:
    for resource, addresses in URLS:
        api.add_resource(resource, *addresses)
    # Made when it is first asked for, and kept.
    api.app.extensions["api_description"] = cache(
        lambda: json.dumps(openapi.build(URLS, server=settings.PUBLIC_URL)).encode()
    )
