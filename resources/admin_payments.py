"""Payments and refunds: what admins look up and decide."""

from __future__ import annotations

from sqlalchemy import Select

from models import Payment, PaymentStatus, Refund, RefundStatus, User
from resources.base import ADMINS, Resource, endpoint
from schemas.common import Nothing, Page
from schemas.payments import (
    AdminPayment,
    Attachment,
    PaymentSearch,
    PaymentStory,
    RefundOut,
    RefundSearch,
    SentByHand,
    StoryLine,
)
from services import payments, refunds


class PaymentList(Resource):
    @endpoint(access=ADMINS, query=PaymentSearch, returns=list[AdminPayment])
    def get(self, _actor: User, query: PaymentSearch) -> Select[tuple[Payment]]:
        """All payments, newest first."""
        return payments.list_payments(
            payments.Search(
                status=PaymentStatus(query.status) if query.status else None,
                receipt=query.receipt,
                phone=query.phone,
                order=query.order,
                since=query.from_,
                until=query.to,
            )
        )


class PaymentDetail(Resource):
    @endpoint(access=ADMINS, returns=PaymentStory)
    def get(self, _actor: User, payment_id: int) -> PaymentStory:
        """One payment with all that happened to it."""
        payment = payments.get_payment(payment_id)
        lines = [StoryLine.model_validate(line) for line in payments.tell_story(payment)]
        return PaymentStory.model_validate(payment).model_copy(update={"story": lines})


class PaymentRecheck(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=AdminPayment, status=202)
    def post(self, actor: User, payment_id: int, body: Nothing) -> Payment:
        """Ask M-PESA about a payment now; what it answers is in the payment's story soon."""
        return payments.recheck_payment(actor=actor, payment_id=payment_id)


class PaymentAttachment(Resource):
    @endpoint(access=ADMINS, body=Attachment, returns=AdminPayment)
    def post(self, actor: User, payment_id: int, body: Attachment) -> Payment:
        """Give money in quarantine to an order."""
        return payments.attach_payment(actor=actor, payment_id=payment_id, order=body.order)


class PaymentRefund(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=AdminPayment)
    def post(self, actor: User, payment_id: int, body: Nothing) -> Payment:
        """Send money in quarantine back."""
        refunds.refund_payment(actor=actor, payment_id=payment_id)
        return payments.get_payment(payment_id)


class PaymentSeen(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=AdminPayment)
    def post(self, actor: User, payment_id: int, body: Nothing) -> Payment:
        """Take a payment off the suspense list, since somebody has looked at it."""
        return payments.mark_seen(actor=actor, payment_id=payment_id)


class SuspenseList(Resource):
    @endpoint(access=ADMINS, query=Page, returns=list[AdminPayment])
    def get(self, _actor: User, query: Page) -> Select[tuple[Payment]]:
        """Money that waits for a person, longest waiting first."""
        return payments.list_suspense()


class RefundList(Resource):
    @endpoint(access=ADMINS, query=RefundSearch, returns=list[RefundOut])
    def get(self, _actor: User, query: RefundSearch) -> Select[tuple[Refund]]:
        """All refunds, newest first."""
        return refunds.list_refunds(status=RefundStatus(query.status) if query.status else None)


class RefundRetry(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=RefundOut)
    def post(self, actor: User, refund_id: int, body: Nothing) -> Refund:
        """Send a refund that failed once more."""
        return refunds.retry_refund(actor=actor, refund_id=refund_id)


class RefundByHand(Resource):
    @endpoint(access=ADMINS, body=SentByHand, returns=RefundOut)
    def post(self, actor: User, refund_id: int, body: SentByHand) -> Refund:
        """Write down that a person has sent the money, with M-PESA's receipt of it."""
        return refunds.note_sent_by_hand(actor=actor, refund_id=refund_id, receipt=body.receipt)
