"""Demo data: a dozen events with a past, made the way people make them.

Everything goes through the services, with the clock set to when it would have happened; payments arrive as callbacks
in the inbox. Only M-PESA itself is left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import partial

from PIL import Image
from sqlalchemy import select

from models import MessageChannel, Payment, PaymentStatus, Role, User
from services import accounts, booking, events, moderation, refunds, reviews, settlement, ticket_types
from services.booking import Line
from utils import clock, mpesa
from utils.database import db, transaction

PASSWORD = "demo-pass-2026"  # printed by `make run`; demo data is refused where people are real

#: First name, last name, mail box, phone, role.
PEOPLE = [
    ("Amina", "Odhiambo", "admin", "0700100100", Role.ADMIN),
    ("Wanjiru", "Kamau", "organizer", "0711200200", Role.ORGANIZER),
    ("Kiprono", "Chebet", "kiprono", "0722300300", Role.ORGANIZER),
    ("Otieno", "Ochieng", "attendee", "0728400400", Role.ATTENDEE),
    ("Achieng", "Atieno", "achieng", "0110500500", Role.ATTENDEE),
    ("Mutua", "Musyoka", "mutua", "0745600600", Role.ATTENDEE),
    ("Fatuma", "Hassan", "fatuma", "0757700700", Role.ATTENDEE),
]
BUYERS = ["attendee", "achieng", "mutua", "fatuma"]


@dataclass(frozen=True)
class Demo:
    """One event. Days count from today, negative ones are past; hours are Nairobi's."""

    title: str
    description: str
    location: str
    category: str
    tags: str
    days: int
    hours: tuple[int, int]
    organizer: str
    #: Name, price in shillings, quantity.
    types: list[tuple[str, int, int]]
    #: Who ordered how many of which type (by position), so many days before the event.
    orders: list[tuple[str, int, int, int]] = field(default_factory=list)
    #: Who said what afterwards.
    reviews: list[tuple[str, int, str]] = field(default_factory=list)
    #: approved, pending, rejected or cancelled in the end.
    end: str = "approved"


EVENTS = [
    Demo(
        "Nairobi Jazz Night",
        "Six bands, two stages and a sunset over Westlands. Bring a shuka: the evenings are cold.",
        "Alchemist Bar, Westlands, Nairobi",
        "Music",
        "jazz,live,nightlife",
        18,
        (18, 23),
        "organizer",
        [("Early Bird", 1000, 50), ("Regular", 1500, 200), ("VIP", 4000, 30)],
        [("attendee", 1, 2, 12), ("achieng", 2, 1, 10), ("mutua", 0, 3, 14)],
    ),
    Demo(
        "Rift Valley Trail Run",
        "Ten or twenty-one kilometres along the escarpment, chip-timed, with ugali and beans at the finish.",
        "Kerita Forest, Kiambu",
        "Sports",
        "running,outdoors",
        25,
        (6, 13),
        "kiprono",
        [("10 km", 800, 300), ("21 km", 1200, 300)],
        [("attendee", 0, 1, 20), ("fatuma", 1, 1, 9)],
    ),
    Demo(
        "Swahili Food Festival",
        "Forty cooks from Lamu to Kisumu. The price is the entrance; plates start at KES 200.",
        "Uhuru Gardens, Lang'ata, Nairobi",
        "Food & Drink",
        "food,family,weekend",
        32,
        (10, 20),
        "organizer",
        [("Child", 200, 400), ("Adult", 500, 1000)],
        [("fatuma", 1, 4, 21), ("achieng", 0, 2, 20)],
    ),
    Demo(
        "PyCon Kenya Community Day",
        "Talks, a job board and a sprint room. Free, but come only if you mean it: seats are few.",
        "Strathmore University, Nairobi",
        "Technology",
        "python,conference,free",
        40,
        (9, 17),
        "kiprono",
        [("Community", 0, 150), ("Supporter", 2500, 40)],
        [("mutua", 0, 1, 30), ("attendee", 0, 1, 25), ("achieng", 1, 1, 24)],
    ),
    Demo(
        "Diani Beach Sunset Sessions",
        "Three days of house and taarab where the sand is white. Camping is included.",
        "Diani Beach, Kwale",
        "Music",
        "beach,festival,camping",
        60,
        (15, 23),
        "organizer",
        [("Early Bird", 3500, 100), ("Three Days", 6000, 500)],
        [("mutua", 0, 2, 50)],
    ),
    Demo(
        "Stand-up Naivasha",
        "Ninety minutes, five comedians, one open microphone.",
        "Lake Naivasha Resort, Naivasha",
        "Comedy",
        "comedy,lake",
        9,
        (19, 21),
        "organizer",
        [("Regular", 700, 80), ("Table for One", 1500, 10)],
        [("achieng", 0, 2, 5), ("attendee", 0, 2, 3)],
    ),
    Demo(
        "Kisumu Book Fair",
        "Publishers, poets and second-hand stalls by the lake.",
        "Mama Grace Onyango Centre, Kisumu",
        "Arts & Culture",
        "books,poetry,family",
        -12,
        (9, 18),
        "kiprono",
        [("Day Pass", 150, 500)],
        [("attendee", 0, 2, 8), ("fatuma", 0, 1, 6), ("achieng", 0, 3, 4)],
        [
            ("attendee", 5, "Three suitcases of books and no regrets."),
            ("fatuma", 4, "Lovely, but bring cash."),
        ],
    ),
    Demo(
        "Mombasa Old Town Walk",
        "A slow evening between coral walls with a historian and a bag of viazi karai.",
        "Fort Jesus, Mombasa",
        "Arts & Culture",
        "history,walking",
        -30,
        (16, 19),
        "organizer",
        [("Walk", 600, 25)],
        [("mutua", 0, 2, 9), ("attendee", 0, 1, 7)],
        [("mutua", 5, "The best guide on the coast."), ("attendee", 4, "Wear shoes you like.")],
    ),
    Demo(
        "Eldoret Startup Breakfast",
        "Founders, farmers and one bank manager over mandazi.",
        "Boma Inn, Eldoret",
        "Business",
        "startups,networking",
        -55,
        (7, 10),
        "kiprono",
        [("Seat", 900, 60)],
        [("fatuma", 0, 1, 15), ("achieng", 0, 1, 11)],
        [("achieng", 3, "Good talks, too little coffee.")],
    ),
    Demo(
        "Karura Forest Yoga Morning",
        "Mats on the grass, tea afterwards.",
        "Karura Forest, Nairobi",
        "Health",
        "yoga,outdoors",
        21,
        (7, 9),
        "organizer",
        [("Mat", 400, 40)],
        end="pending",
    ),
    Demo(
        "Secret Warehouse Rave",
        "Address on the day.",
        "Industrial Area, Nairobi",
        "Music",
        "techno",
        28,
        (22, 23),
        "kiprono",
        [("Entry", 1000, 300)],
        end="rejected",
    ),
    Demo(
        "Nanyuki Kite Day",
        "Kites under Mount Kenya. Called off because of the long rains.",
        "Nanyuki Airstrip, Laikipia",
        "Family",
        "kites,family",
        14,
        (10, 16),
        "organizer",
        [("Family", 1000, 120)],
        [("fatuma", 0, 1, 6)],
        end="cancelled",
    ),
]

#: The wallets' own story: a receipt is ten letters and digits and serves once.
_RECEIPT_LETTERS = "DEMO"


def is_empty() -> bool:
    """Whether nobody has an account yet."""
    return db.session.scalar(select(User.id).limit(1)) is None


def fill() -> None:
    """Fill an empty database, all or nothing. Things happen in the order in which they would have happened."""
    today = clock.now().astimezone(clock.NAIROBI).replace(hour=0, minute=0, second=0, microsecond=0)
    story = _Story(today)
    # Sorting is stable: what happens at one moment happens in the order it was told.
    with transaction():
        for when, act in sorted(story.tell(), key=lambda step: step[0]):
            with clock.set_to(when):
                act()


class _Story:
    def __init__(self, today: datetime) -> None:
        self.today = today
        self.people: dict[str, User] = {}
        #: By title: the event's id, and its ticket types' in the order they were told.
        self.event_ids: dict[str, int] = {}
        self.ticket_type_ids: dict[str, list[int]] = {}
        self.receipts = 0

    def tell(self) -> list[tuple[datetime, Callable[[], None]]]:
        steps: list[tuple[datetime, Callable[[], None]]] = [
            (self.today - timedelta(days=120), partial(self.open_account, *person)) for person in PEOPLE
        ]
        for demo in EVENTS:
            steps += self.tell_of(demo)
        return steps

    def tell_of(self, demo: Demo) -> list[tuple[datetime, Callable[[], None]]]:
        start = datetime.combine(self.today + timedelta(days=demo.days), time(demo.hours[0]), clock.NAIROBI)
        submitted = min(start - timedelta(days=35), self.today - timedelta(days=35))
        steps: list[tuple[datetime, Callable[[], None]]] = [(submitted, partial(self.publish, demo, start))]
        if demo.end != "pending":
            steps.append((submitted + timedelta(days=1), partial(self.decide, demo)))
        for number, (buyer, position, quantity, days_before) in enumerate(demo.orders):
            latest = min(start, self.today) - timedelta(minutes=30 + number)
            ordered = min(start - timedelta(days=days_before), latest)
            steps.append((ordered, partial(self.buy, demo, buyer, position, quantity)))
        if demo.end == "cancelled":
            steps.append((self.today - timedelta(minutes=5), partial(self.cancel, demo)))
        for number, (reviewer, rating, comment) in enumerate(demo.reviews):
            said = start + timedelta(days=1, hours=number)
            steps.append((said, partial(self.review, demo, reviewer, rating, comment)))
        return steps

    def open_account(self, first: str, last: str, box: str, phone: str, role: Role) -> None:
        self.people[box] = accounts.sign_up(
            first_name=first,
            last_name=last,
            email=f"{box}@ticksy.co.ke",
            phone=f"254{phone[1:]}",
            password=PASSWORD,
            role=role,
            is_verified=True,
        )

    def publish(self, demo: Demo, start: datetime) -> None:
        organizer = self.people[demo.organizer]
        facts = {
            "title": demo.title,
            "description": demo.description,
            "location": demo.location,
            "category": demo.category,
            "tags": demo.tags,
            "starts_at": clock.to_utc(start),
            "ends_at": clock.to_utc(start + timedelta(hours=demo.hours[1] - demo.hours[0])),
        }
        event_id = events.create_event(actor=organizer, facts=facts, image=_picture(demo.title)).id
        self.event_ids[demo.title] = event_id
        self.ticket_type_ids[demo.title] = [
            ticket_types.add_ticket_type(
                actor=organizer,
                event_id=event_id,
                facts={"name": name, "price_kes": price, "quantity": quantity},
            ).id
            for name, price, quantity in demo.types
        ]

    def decide(self, demo: Demo) -> None:
        is_approved = demo.end != "rejected"
        moderation.decide_event(
            actor=self.people["admin"],
            event_id=self.event_ids[demo.title],
            is_approved=is_approved,
            reason=None if is_approved else "Please tell people where it is, and show the licence.",
        )

    def buy(self, demo: Demo, buyer: str, position: int, quantity: int) -> None:
        line = Line(ticket_type_id=self.ticket_type_ids[demo.title][position], quantity=quantity)
        actor = self.people[buyer]
        prompt = booking.place_order(actor=actor, phone=actor.phone, lines=[line]).prompt
        if prompt is not None:
            if prompt.is_queued:  # as if pushed: nothing of this goes to anybody's phone
                with transaction() as session:
                    session.get_one(Payment, prompt.payment_id).move_to(PaymentStatus.SUBMITTING)
            body = self.callback(prompt.amount_kes, prompt.payment_id, prompt.phone)
            message_id = settlement.store(prompt.payment_id, MessageChannel.STK_CALLBACK, body)
            settlement.settle_message(message_id)

    def callback(self, amount_kes: int, payment_id: int, phone: str) -> bytes:
        """A success as Safaricom posts it."""
        self.receipts += 1
        stamp = mpesa.east_africa_stamp(clock.now())
        items = {
            "Amount": float(amount_kes),
            "MpesaReceiptNumber": f"{_RECEIPT_LETTERS}{self.receipts:06d}",
            "TransactionDate": int(stamp),
            "PhoneNumber": int(phone),
        }
        result = {
            "MerchantRequestID": f"demo-{payment_id}",
            "CheckoutRequestID": f"ws_CO_demo_{payment_id}",
            "ResultCode": 0,
            "ResultDesc": "The service request is processed successfully.",
            "CallbackMetadata": {"Item": [{"Name": name, "Value": value} for name, value in items.items()]},
        }
        return json.dumps({"Body": {"stkCallback": result}}).encode()

    def cancel(self, demo: Demo) -> None:
        events.cancel_event(actor=self.people[demo.organizer], event_id=self.event_ids[demo.title])
        refunds.refund_cancelled_events()

    def review(self, demo: Demo, reviewer: str, rating: int, comment: str) -> None:
        event_id = self.event_ids[demo.title]
        reviews.write_review(actor=self.people[reviewer], event_id=event_id, rating=rating, comment=comment)


def _picture(title: str) -> bytes:
    """A gradient in a colour of the event's own."""
    hue = sum(title.encode()) % 256
    gradient = Image.linear_gradient("L").resize((800, 450))
    flat = Image.new("L", gradient.size, hue)
    picture = Image.merge("HSV", (flat, flat.point(lambda _: 150), gradient.point(lambda light: 90 + light // 2)))
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "PNG")
    return encoded.getvalue()
