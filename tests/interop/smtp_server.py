"""A mail server for tests, made of aiosmtpd.

    smtp_server.py PORT FILE [--tls CERTIFICATE KEY] [--login USER PASSWORD]

Each e-mail becomes a line of JSON in FILE, which is flushed before the e-mail is accepted. With --tls the server offers
STARTTLS, with --login it wants a login. A recipient that begins with a code, such as 450@example.com, is answered with that
code, and a text that holds its address.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, path):
        self.out = open(path, "a")

    async def handle_RCPT(self, server, session, envelope, address, options):
        code = address.split("@")[0]
        if code.isdigit():
            return f"{code} {code[0]}.7.1 not for {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        found = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [name.lower() for name in mail.keys()],
            "id": mail["message-id"],
            "subject": mail["subject"],
            "type": mail.get_content_type(),
            "body": mail.get_content(),
            "tls": session.ssl is not None,
        }
        self.out.write(json.dumps(found) + "\n")
        self.out.flush()
        return "250 OK"


async def serve():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--login", nargs=2)
    given = parser.parse_args()
    context = None
    if given.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*given.tls)
    handler = Handler(given.file)

    def authenticate(server, session, envelope, mechanism, data):
        own = [data.login.decode(), data.password.decode()] if mechanism in ("PLAIN", "LOGIN") else None
        return AuthResult(success=own == given.login, handled=False)

    def session():
        return SMTP(
            handler,
            hostname="localhost",
            tls_context=context,
            authenticator=authenticate,
            auth_required=given.login is not None,
            auth_require_tls=False,
        )

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", given.port)
    await server.serve_forever()


asyncio.run(serve())
