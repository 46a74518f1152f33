"""`python -m development.mail_catcher FOLDER SMTP_PORT PAGE_PORT`: serve until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from werkzeug.serving import make_server

from development.mail_catcher.page import create_app

HOST = "127.0.0.1"


def main() -> None:
    folder, smtp_port, page_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    smtp = Controller(Mailbox(folder), hostname=HOST, port=smtp_port)
    smtp.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            make_server(HOST, page_port, create_app(folder), threaded=True).serve_forever()
    finally:
        smtp.stop()


if __name__ == "__main__":
    main()
