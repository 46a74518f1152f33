"""The parts of a running simulator, each with what it needs of the others."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flask import current_app
from werkzeug.local import LocalProxy

from daraja_simulator import credential
from daraja_simulator.bank import Bank
from daraja_simulator.chance import Chance
from daraja_simulator.clock import Agenda, Clock
from daraja_simulator.draws import Draws
from daraja_simulator.errands import Errands
from daraja_simulator.network import Network
from daraja_simulator.paybill import Paybill
from daraja_simulator.post import Post
from daraja_simulator.settings import Settings
from daraja_simulator.store import Store


class World:
    """A simulator that has taken up what its ledger left it. Its clock is running."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.key = credential.key_in(Path(settings.SIM_CERTIFICATE_DIR))
        if settings.SIM_LEDGER:
            Path(settings.SIM_LEDGER).resolve().parent.mkdir(parents=True, exist_ok=True)
        else:
            #: Goes away with the process.
            self._folder = tempfile.TemporaryDirectory(prefix="daraja-simulator-", ignore_cleanup_errors=True)
        self.clock = Clock(settings.SIM_SPEED)
        self.agenda = Agenda(self.clock)
        self.store = Store(settings.SIM_LEDGER or f"{self._folder.name}/ledger.sqlite", self.agenda.look)
        self.clock.offset_seconds = self.store.fact("offset_seconds", 0.0)
        self.draws = Draws(settings, self.store)
        self.chance = Chance(settings, self.store, self.draws)
        self.bank = Bank(settings, self.store, self.draws)
        self.post = Post(settings.MPESA_SHORTCODE, self.store, self.agenda, self.chance)
        self.paybill = Paybill(settings, self.store, self.clock, self.chance, self.bank, self.post)
        self.network = Network(settings, self.store, self.agenda, self.chance, self.bank, self.post, self.paybill)
        self.errands = Errands(settings, self.store, self.agenda, self.draws, self.bank, self.post)
        self.agenda.open(self.store)
        self.post.recover()
        self.agenda.start()

    def reset(self) -> None:
        """Forget all but the access tokens, and set the clock to real time."""
        with self.store.transaction():
            self.store.forget()
            self.clock.offset_seconds = 0.0
            self.network.leave_phones()

    def advance(self, seconds: float) -> None:
        """Move the clock forward. What becomes due by it happens at once, in order."""
        with self.store.transaction():
            self.store.note("offset_seconds", self.clock.offset_seconds + seconds)
            self.clock.offset_seconds += seconds


#: The running app's.
world: World = LocalProxy(lambda: current_app.extensions["world"])  # type: ignore[assignment]
