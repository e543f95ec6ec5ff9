"""One client, in SMTP: the one module that imports aiosmtpd.

aiosmtpd 1.4 is used for what it does well: commands and their syntax, STARTTLS, AUTH.
These traps are closed here:

- it reads a message line by line, keeps each line, and refuses long ones, which mail may
  have all the same: DATA is ours (`_smtp_data`);
- it tells a client the text of an exception: we tell nobody;
- its limits of commands are shared by all connections, grow with each EHLO, and keep every
  word that was ever looked up in them;
- it begins TLS within TLS as often as it is asked to;
- it offers AUTH where there is no login, and knows no `AUTH=` of MAIL (RFC 4954, 5);
- it logs every address that it sees: `quiet` keeps it from that, for our thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import frozen
from typing_extensions import override

try:
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
except ImportError as error:  # pragma: no cover
    msg = "receiving mail needs aiosmtpd: pip install 'mailarchive[smtp]'"
    raise ImportError(msg) from error

from mailarchive._model import Address, Delivery, Envelope, Origin, Recipient, Role
from mailarchive.sources._smtp_data import NO_ROOM, Intake, Overdone, read_message
from mailarchive.sources._smtp_room import Memory, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive.sources._smtp_gate import Gate
    from mailarchive.sources._smtp_limits import SmtpLimits
    from mailarchive.sources._smtp_tls import Protection

PIECE_OCTETS = 1 << 16

_COMMAND_OCTETS = 1_024
_AUTH_OCTETS = 12_288
"""RFC 4954, 4.2."""

_STOPPED = b"421 4.3.2 this receiver is being stopped\r\n"
_FAR_TOO_LARGE = "421 4.7.0 far too large"
_NO_MEMORY = "421 4.3.1 no memory for the message, try again later"
_BROKEN_OFF = "421 4.3.0 that did not work, try again later"
_GREETINGS = 20
"""Times that a client may introduce itself over one connection."""

_AUTH_PARAMETER = re.compile(r"\s+AUTH=\S*", re.IGNORECASE)


class Desk(Protocol):
    """Where a message goes once it is whole."""

    async def hand_in(self, raw: bytes, delivery: Delivery, share: Share) -> str:
        """Wait until it is answered, and return the reply."""
        ...


@frozen
class House:
    """What all conversations share."""

    gate: Gate
    limits: SmtpLimits
    memory: Memory
    desk: Desk
    hostname: str
    protection: Protection


class _Hooks:
    """What aiosmtpd asks us; one a conversation."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.strangers = 0

    async def handle_EHLO(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Any, hostname: str, lines: list[str]
    ) -> list[str]:
        del server, envelope
        session.host_name = hostname
        told = [line[4:] for line in lines if not line.startswith("250 HELP")]
        if not self._house.gate.asks_for_login:
            told = [line for line in told if not line.startswith("AUTH")]
        return [*(f"250-{line}" for line in told[:-1]), f"250 {told[-1]}"]

    async def handle_MAIL(  # noqa: N802
        self, server: Conversation, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._house.gate.asks_for_login and not session.authenticated:
            return "530 5.7.0 a login is needed"
        if not server.may_send():
            return "421 4.7.0 too many messages, connect again"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 ok"

    async def handle_RCPT(  # noqa: N802
        self, server: Conversation, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        del session
        if len(envelope.rcpt_tos) >= self._house.limits.recipients:
            return "452 4.5.3 too many recipients"
        if not self._house.gate.knows(address):
            return self.stranger(server, "550 5.1.1 nobody of that name is here")
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 ok"

    async def handle_VRFY(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Any, address: str
    ) -> str:
        del server, session, envelope, address
        return "252 2.5.0 send mail and see"

    async def handle_exception(self, error: Exception) -> str:
        """Tell the client nothing of what went wrong."""
        del error
        return "451 4.3.0 that did not work, try again later"

    def stranger(self, server: Conversation, reply: str) -> str:
        """Count what no friend does, and close the connection where it was too often."""
        self.strangers += 1
        if self.strangers < self._house.limits.strangers:
            return reply
        server.leave()
        return "421 4.7.0 too many mistakes"

    def authenticate(
        self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        """Whether a login's password is right; its name is kept as evidence."""
        del session, envelope, mechanism
        assert isinstance(data, LoginPassword)
        assert isinstance(server, Conversation)
        name = data.login.decode("utf-8", "replace")
        if self._house.gate.is_login(name, data.password):
            server.login = name
            return AuthResult(success=True)
        wrong = self.stranger(server, "535 5.7.8 the login is not known")
        return AuthResult(success=False, handled=False, message=wrong)


class _CommandOctets(dict[str, int]):
    """How long each command may be; of a word that is none nothing is kept."""

    def __missing__(self, command: str) -> int:
        """Say what holds for every other one."""
        return _COMMAND_OCTETS


class Conversation(SMTP):
    """What is said with one client."""

    def __init__(self, house: House, client: str, loop: asyncio.AbstractEventLoop) -> None:
        """Take the house, and the network address that connected."""
        self._house, self._client, self._limits = house, client, house.limits
        self._hooks = _Hooks(house)
        self.login: str | None = None
        self.over = asyncio.Event()
        """Set once the connection is gone."""
        self.busy = False
        """Whether a message is under way, or waits for its answer."""
        self._leaving = False
        self._messages = 0
        self._quiet_since = loop.time()
        limits, tls = house.limits, house.protection
        starts = tls.context is not None and not tls.implicit
        often = limits.messages + limits.strangers
        # aiosmtpd takes the bound of a line from its class; its reader has it from there.
        self.line_length_limit = PIECE_OCTETS
        super().__init__(
            self._hooks,
            data_size_limit=limits.message_octets,
            enable_SMTPUTF8=True,
            hostname=house.hostname,
            ident="ESMTP",
            tls_context=tls.context if starts else None,
            require_starttls=starts,
            timeout=limits.command_seconds,
            auth_require_tls=starts,
            command_call_limit={
                "*": often,
                "RCPT": limits.messages * limits.recipients,
                "AUTH": limits.strangers,
                "EHLO": _GREETINGS,
                "HELO": _GREETINGS,
            },
            authenticator=self._hooks.authenticate,
            loop=loop,
        )
        self.command_size_limits = _CommandOctets(AUTH=_AUTH_OCTETS)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        """Note that it is over, also where TLS never came to stand."""
        super().connection_lost(error)
        self.over.set()

    @override
    async def smtp_STARTTLS(self, arg: str) -> None:
        """Turn to TLS; where it does not come to stand the conversation is over.

        asyncio tells nobody of a handshake that broke off, so that aiosmtpd would wait on.
        Where it stands already there is no second one within it (RFC 3207, 4.2).
        """
        begun = self._tls_protocol is not None
        if begun:
            await self.push("503 5.5.1 TLS stands already")
            return
        await super().smtp_STARTTLS(arg)
        if self._tls_protocol is not None and (self.session is None or self.session.ssl is None):
            self.hang_up()

    @override
    async def smtp_MAIL(self, arg: str | None) -> None:
        """Take MAIL; an `AUTH=` that a relay adds is no business of ours."""
        await super().smtp_MAIL(arg and _AUTH_PARAMETER.sub("", arg))
        self._leave_if_asked()

    @override
    async def smtp_RCPT(self, arg: str | None) -> None:
        """Take RCPT; a wrong one costs time."""
        before = self._hooks.strangers
        await super().smtp_RCPT(arg)
        await self._go_on_after(before)

    @override
    async def smtp_AUTH(self, arg: str) -> None:
        """Take a login, where there are any; a wrong one costs time."""
        before = self._hooks.strangers
        if self._house.gate.asks_for_login:
            await super().smtp_AUTH(arg)
        else:
            await self.push("502 5.5.1 no login is needed")
        await self._go_on_after(before)

    @override
    async def smtp_DATA(self, arg: str) -> None:
        """Take a message, and answer only when somebody has it."""
        if await self.check_helo_needed():
            return
        assert self.envelope is not None
        if arg or not self.envelope.rcpt_tos:
            await self.push("501 5.5.4 DATA alone" if arg else "503 5.5.1 first MAIL and RCPT")
            return
        share = Share(self._house.memory)
        if not share.enter(self._announced()):
            await self.push(NO_ROOM)
            return
        self.busy = True
        self._messages += 1
        try:
            await self.push(await self._receive(share))
        finally:
            self.busy = False
            self._quiet_since = self.loop.time()
            self.envelope = self._create_envelope()
        self._leave_if_asked()

    async def _receive(self, share: Share) -> str:
        """Ask for the message, read it, hand it in, and return the reply."""
        intake = Intake(self._limits.message_octets, share)
        try:
            await self.push("354 go on, and end with a dot alone")
            self._reset_timeout(self._limits.piece_seconds)
            await read_message(self._reader, self._watched(intake))
            delivery, raw = self._delivery(), intake.message()
        except BaseException as error:
            share.let_go()
            self.leave()  # what is left of the message would be taken for commands
            if not isinstance(error, Exception):
                raise
            return _parting(error)
        if intake.fault is not None:
            return intake.fault
        # The answer has a bound of its own; nothing else may end the connection meanwhile.
        self._reset_timeout(self._limits.answer_seconds + self._limits.command_seconds)
        reply = await self._house.desk.hand_in(raw, delivery, share)
        self._reset_timeout()
        return reply

    def _watched(self, intake: Intake) -> Callable[[bytes], None]:
        """Take pieces in, and give more time at each 64 KiB."""
        due = PIECE_OCTETS

        def add(piece: bytes) -> None:
            nonlocal due
            intake.add(piece)
            if intake.size >= due:
                due = intake.size + PIECE_OCTETS
                self._reset_timeout(self._limits.piece_seconds)

        return add

    def _announced(self) -> int:
        """The octets that MAIL said would come (RFC 1870); a client may say anything."""
        assert self.envelope is not None
        for option in self.envelope.mail_options:
            name, _, value = option.partition("=")
            if name.upper() == "SIZE" and value.isdigit():
                return min(int(value), self._limits.message_octets)
        return 0

    def _delivery(self) -> Delivery:
        assert self.envelope is not None
        assert self.session is not None
        sender = self.envelope.mail_from or ""
        recipients = [Recipient(Address.parse(to), Role.RECIPIENT) for to in _to(self.envelope)]
        bare = sender in {"", "<>"}
        envelope = Envelope(
            sender=None if bare else Address.parse(sender),
            recipients=tuple(recipients),
            origin=Origin.SMTP,
        )
        return Delivery(
            envelope, self._client, self.session.host_name or "", self._protection(), self.login
        )

    def _protection(self) -> str | None:
        assert self.session is not None
        started = self.session.ssl or {}
        tls = self._writer.get_extra_info("ssl_object") or started.get("ssl_object")
        version = None if tls is None else tls.version()
        return None if version is None else str(version)

    def may_send(self) -> bool:
        """Whether one more message is taken over this connection."""
        if self._messages >= self._limits.messages:
            self.leave()
        return not self._leaving

    def quiet_for(self) -> float:
        """Return for how many seconds no message came, whatever else was said."""
        return 0.0 if self.busy else self.loop.time() - self._quiet_since

    def leave(self) -> None:
        """Close the connection after the reply that is under way."""
        self._leaving = True

    def say_goodbye(self, why: bytes = _STOPPED) -> None:
        """Close a connection on which nothing is under way; another one when it is done."""
        self.leave()
        if not self.busy and self.transport is not None:
            with contextlib.suppress(Exception):
                self._writer.write(why)
            self.transport.close()

    def hang_up(self) -> None:
        """Close it at once, without a word; whatever state it is in, it is over then."""
        for transport in (self.transport, self._original_transport):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        for waiting in (self._timeout_handle, self._handler_coroutine):
            if waiting is not None:
                waiting.cancel()
        self.over.set()

    async def _go_on_after(self, mistakes: int) -> None:
        """Let somebody who guesses wait, so that guessing takes for ever."""
        if self._leaving:
            self._leave_if_asked()
        elif self._hooks.strangers > mistakes:
            await asyncio.sleep(self._limits.mistake_seconds)

    def _leave_if_asked(self) -> None:
        if self._leaving and self.transport is not None:
            self.transport.close()


def _parting(error: Exception) -> str:
    """Return the last reply to a client whose message could not be taken in."""
    if isinstance(error, Overdone):
        return _FAR_TOO_LARGE
    return _NO_MEMORY if isinstance(error, MemoryError) else _BROKEN_OFF


def _to(envelope: Any) -> list[str]:
    return [str(each) for each in envelope.rcpt_tos]


class _OurThread(logging.Filter):
    """Lets no record through that the receiver's own thread makes."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep aiosmtpd from logging addresses on this thread; others' records are not touched."""
    logger = logging.getLogger(_LOGGER)
    ours = _OurThread(threading.get_ident())
    logger.addFilter(ours)
    try:
        yield
    finally:
        logger.removeFilter(ours)


_LOGGER: Final = "mail.log"
