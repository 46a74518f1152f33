"""E-mail over SMTP: letters as messages, and the connection that takes them away."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email import policy
from email.charset import QP, Charset
from email.encoders import encode_base64
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr, formatdate, parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email

from utils.delivery import NotDelivered, Refused, ServiceDown

#: For the connection, and for each answer.
_TIMEOUT_SECONDS = 15
_PORTS = {"plain": 25, "starttls": 587, "tls": 465}
_WANTED = "must be smtp://user:password@host:port, with ?starttls, or smtps://…, both percent-encoded"
#: What a reply may say at most in the table of messages.
_LONGEST_ERROR = 300
#: Lines end as SMTP wants it. They may be as long as it allows, so that addresses are not broken off their header.
_ON_THE_WIRE = policy.compat32.clone(linesep="\r\n", max_line_length=998)

#: Keeps text readable in the message's source, in lines of a length that every server takes.
_UTF8 = Charset("utf-8")
_UTF8.body_encoding = QP


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in."""

    host: str
    port: int
    security: Literal["plain", "starttls", "tls"]
    user: str | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class File:
    """What goes with a message. `name` is ASCII, `kind` a content type."""

    name: str
    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Mail:
    """One e-mail to one person."""

    to: str
    subject: str
    text: str
    html: str
    #: The same whenever it is sent again, so that mail programs show it once: letters, digits and dashes.
    name: str
    #: Where one click ends mail of this kind (RFC 8058); None where it cannot be ended.
    unsubscribe_url: str | None = None
    files: Sequence[File] = ()


def parse_url(url: str) -> MailServer:
    """`smtp://user:password@host:port`, `smtp://…?starttls`, `smtps://…`. Raises ValueError with what is wrong."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose own words may be a piece of a password that should have been percent-encoded
        raise ValueError(_WANTED) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise ValueError(_WANTED)
    if parts.query not in ("", "starttls") or (parts.query and parts.scheme == "smtps"):
        raise ValueError("may have ?starttls after smtp:// and nothing else")
    security: Literal["plain", "starttls", "tls"] = "plain"
    if parts.scheme == "smtps":
        security = "tls"
    elif parts.query:
        security = "starttls"
    user = unquote(parts.username) if parts.username else None
    return MailServer(parts.hostname, port or _PORTS[security], security, user, unquote(parts.password or ""))


def parse_address(text: str) -> str:
    """The one address in `tickets@ticksy.co.ke` or `Ticksy <tickets@ticksy.co.ke>`. Raises ValueError."""
    if any(char in text for char in "\r\n"):
        raise ValueError("must be one line")
    _name, address = parseaddr(text)
    try:
        return str(validate_email(address, check_deliverability=False, allow_smtputf8=False).ascii_email)
    except EmailNotValidError:
        raise ValueError("must be an e-mail address, or a name and one in <>") from None


def write(mail: Mail, *, sender: str) -> bytes:
    """The message as it goes over the wire. Raises Refused for an address that is none."""
    name, _address = parseaddr(sender)
    own_address = parse_address(sender)
    words = MIMEMultipart("alternative")
    words.attach(MIMEText(mail.text, "plain", _UTF8))  # type: ignore[arg-type]
    words.attach(MIMEText(mail.html, "html", _UTF8))  # type: ignore[arg-type]
    message = MIMEMultipart("mixed", _subparts=[words, *map(_attach, mail.files)]) if mail.files else words
    message["From"] = formataddr((name, own_address))
    message["To"] = _check(mail.to)
    # The newer way to make messages loses spaces of a long subject that is not ASCII, and breaks long addresses.
    subject = in_one_line(mail.subject)
    message["Subject"] = subject if subject.isascii() else Header(subject, "utf-8", header_name="Subject").encode()
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{mail.name}@{domain_of(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe_url is not None:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return message.as_bytes(policy=_ON_THE_WIRE)


def _attach(file: File) -> MIMEBase:
    part = MIMEBase(*file.kind.split("/"))
    part.set_payload(file.content)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=file.name)
    if part.get_content_maintype() == "text":
        part.set_param("charset", "utf-8")
    return part


def in_one_line(text: str) -> str:
    """Without line ends, which would begin another header, and without marks that turn the writing around."""
    turning = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F])
    return " ".join("".join(char if char.isprintable() else " " for char in text.translate(turning)).split())


def domain_of(sender: str) -> str:
    return parse_address(sender).rpartition("@")[2]


def _check(address: str) -> str:
    try:
        return parse_address(address) if parseaddr(address) == ("", address) else _refuse()
    except ValueError:
        return _refuse()


def _refuse() -> str:
    raise Refused("not an e-mail address")


class Mailer:
    """A connection to the mail server, made for the first message and used for all that follow."""

    def __init__(self, server: MailServer, *, sender: str) -> None:
        self._server, self._sender = server, sender
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Mail) -> None:
        """Hand the message in. Raises NotDelivered, Refused, ServiceDown."""
        message = write(mail, sender=self._sender)
        smtp = self._smtp = self._smtp or self._connect()
        try:
            smtp.sendmail(parse_address(self._sender), [mail.to], message)
        except smtplib.SMTPRecipientsRefused as error:
            raise _fault(*next(iter(error.recipients.values()))) from None
        except smtplib.SMTPSenderRefused as error:  # it is about us, not about whom the message is for
            raise ServiceDown(_in_words(error.smtp_code, error.smtp_error)) from None
        except smtplib.SMTPDataError as error:
            raise _fault(error.smtp_code, error.smtp_error) from None
        except (smtplib.SMTPException, OSError) as error:
            raise ServiceDown(type(error).__name__) from None

    def close(self) -> None:
        """Whatever becomes of it: what was taken is taken."""
        if self._smtp is not None:
            with suppress(smtplib.SMTPException, OSError):
                self._smtp.quit()
            self._smtp.close()
            self._smtp = None

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        # Not the machine's own name, which may take a while to find out.
        name, timeout = domain_of(self._sender), _TIMEOUT_SECONDS
        smtp: smtplib.SMTP | None = None
        try:
            if server.security == "tls":
                tls = ssl.create_default_context()
                smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=timeout, context=tls)
            else:
                smtp = smtplib.SMTP(server.host, server.port, name, timeout=timeout)
            if server.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if server.user is not None:
                smtp.login(server.user, server.password)
        except (smtplib.SMTPException, OSError) as error:
            if smtp is not None:
                smtp.close()
            # Its text may repeat what we said to log in.
            code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
            raise ServiceDown(f"the mail server cannot be used: {type(error).__name__}{code}") from None
        return smtp


def _fault(code: int, reply: bytes | str) -> NotDelivered:
    """What a refusal means. 421 ends the connection; 5.7 is a policy about us, which may be put right; any other 5xx
    is about the recipient or the message (RFC 5321, 4.2; RFC 3463)."""
    words = _in_words(code, reply)
    if code == 421:
        return ServiceDown(words)
    is_policy = words.removeprefix(f"{code} ").startswith("5.7.") or code == 530
    return Refused(words) if 500 <= code < 600 and not is_policy else NotDelivered(words)


def _in_words(code: int, reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return in_one_line(f"{code} {text}")[:_LONGEST_ERROR]
