"""Between the worker and a mail server: stops a message on its way, so that the worker can be killed over it."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

#: Where a message can be stopped: unheard of, come in part, or whole and not answered.
UNGREETED, HALFWAY, UNANSWERED = "ungreeted", "halfway", "unanswered"


class Relay:
    """Where a message is to stop, the worker waits until it is killed."""

    def __init__(self, port: int) -> None:
        self.stop_at: str | None = None
        self.stopped = threading.Event()
        #: Conversations that go on.
        self.open: set[socket.socket] = set()
        #: Message-IDs that the catcher took, and the worker never heard so.
        self.unanswered: list[str] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                worker, _ = self._listener.accept()
                self.open.add(worker)
                threading.Thread(target=self._relay, args=(worker,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _relay(self, worker: socket.socket) -> None:
        try:
            with suppress(OSError), worker, socket.create_connection(("127.0.0.1", self._port)) as catcher:
                if self._stops(worker, catcher):
                    self.stopped.set()
                    worker.recv(1)  # until it is killed
        finally:
            self.open.discard(worker)

    def _stops(self, worker: socket.socket, catcher: socket.socket) -> bool:
        """One conversation, to its end or until it is to stop. A line, or a message, is answered before the next."""
        message: bytes | None = None
        while reply := _read_reply(catcher):
            if message is not None and self.stop_at == UNANSWERED:
                [name] = re.findall(rb"^Message-ID: (<.+>)", message, re.MULTILINE)
                self.unanswered.append(name.decode())
                return True
            if self.stop_at == UNGREETED:
                return True
            worker.sendall(reply)
            message = b"" if reply.startswith(b"354") else None
            while said := worker.recv(65536):
                if message is not None and self.stop_at == HALFWAY:
                    catcher.sendall(said[: len(said) // 2])
                    return True
                catcher.sendall(said)
                message = None if message is None else message + said
                if message is None or message.endswith(b"\r\n.\r\n"):
                    break
            if not said:
                break
        return False


def _read_reply(catcher: socket.socket) -> bytes:
    """All its lines: the last one has no dash after its code. Empty when the catcher has hung up."""
    reply = b""
    while not re.search(rb"^\d{3} .*\r\n\Z", reply, re.MULTILINE):
        more = catcher.recv(65536)
        if not more:
            return b""
        reply += more
    return reply
