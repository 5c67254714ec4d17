#!/usr/bin/env python3
"""A small legacy app: it knows nothing of logins, tokens or sessions.

It believes whoever the proxy in front of it names in a header, as thousands of in-house apps do.
It stands behind Portcullis in `make demo` and in the tests. Nothing but the standard library is needed.
"""

import argparse
import html
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import single_page
import stock

NAME_HEADERS = ("X-Auth-Subject", "X-Forwarded-User")
ROLE_HEADERS = ("X-Auth-Roles", "X-Forwarded-Groups")
NOT_SHOWN = {"authorization", "cookie", "proxy-authorization"}
CHUNK_BYTES = 64 * 1024

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1d2733; background: #f4f6f8; }
header { background: #23395b; color: #fff; padding: 1rem 2rem; }
header h1 { font-size: 1.1rem; margin: 0; letter-spacing: .04em; }
main { max-width: 46rem; margin: 2rem auto; padding: 2rem; background: #fff; border-radius: 8px;
       box-shadow: 0 1px 4px rgba(0, 0, 0, .12); }
h2 { margin-top: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td { border-top: 1px solid #e3e8ee; padding: .35rem .5rem; overflow-wrap: anywhere; }
td:first-child { color: #5b6b7d; white-space: nowrap; }
nav a { color: #cfe0ff; margin-right: 1rem; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Stockroom 2.4</title><link rel="stylesheet" href="/assets/app.css"></head>
<body>
<header><h1>Stockroom 2.4</h1><nav><a href="/">home</a><a href="/admin">admin</a><a href="/whoami">whoami</a></nav></header>
<main><h2>{title}</h2><p>{text}</p><table>{rows}</table></main>
</body>
</html>
"""


class LegacyApp(BaseHTTPRequestHandler):
    """One request. HTTP/1.1, so that connections are kept alive."""

    protocol_version = "HTTP/1.1"
    server_version = "Stockroom/2.4"

    def do_GET(self):
        target = urlsplit(self.path)
        if target.path == "/":
            self.page("hello " + self.user(), "This app has no login of its own. It greets whoever the proxy names.")
        elif target.path == "/admin":
            self.page("admin", "Only people with the role admin should ever see this page.")
        elif target.path == "/assets/app.css":
            self.answer(200, "text/css; charset=utf-8", STYLE.encode())
        elif target.path == "/whoami":
            self.whoami()
        elif target.path == "/events":
            self.events()
        elif target.path == "/slow":
            self.slow(parse_qs(target.query))
        elif target.path == "/api/stock":
            self.json(200, stock.items())
        elif target.path.startswith("/api/stock/"):
            item = stock.item(target.path.removeprefix("/api/stock/"))
            self.json(*((200, item) if item else (404, {"error": "There is no such item."})))
        elif target.path == "/admin/report":
            self.json(200, stock.report(self.user()))
        elif target.path == "/app" or target.path.startswith("/app/"):
            self.single_page(target.path)
        else:
            self.answer(404, "text/plain; charset=utf-8", b"not found\n")

    do_HEAD = do_GET

    def do_POST(self):
        path = urlsplit(self.path).path
        if path == "/echo":
            self.echo()
        elif path == "/api/stock":
            self.add_item()
        else:
            self.answer(404, "text/plain; charset=utf-8", b"not found\n")
            self.close_connection = True  # The body was not read.

    def user(self):
        return next((self.headers[name] for name in NAME_HEADERS if self.headers[name]), "stranger")

    def page(self, title, text):
        shown = [(name, value) for name, value in self.headers.items() if name.lower() not in NOT_SHOWN]
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in shown)
        page = PAGE.format(title=html.escape(title), text=html.escape(text), rows=rows)
        self.answer(200, "text/html; charset=utf-8", page.encode())

    def whoami(self):
        """What arrived, all of it: so that one can see what a proxy in front adds and takes away."""
        seen = {
            "user": self.user(),
            "roles": next((self.headers[name] for name in ROLE_HEADERS if self.headers[name]), None),
            "method": self.command,
            "path": self.path,
            "headers": self.headers.items(),
            "remote": self.client_address[0],
        }
        self.answer(200, "application/json", json.dumps(seen, indent=2).encode() + b"\n")

    def echo(self):
        """The body back, as it comes."""
        self.send_response(200)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/octet-stream"))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.body():
            self.chunk(piece)
        self.chunk(b"")

    def events(self):
        """One server-sent event each second, until the client goes."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        number = 0
        try:
            while True:
                self.chunk(f"id: {number}\ndata: tick {number}\n\n".encode())
                number += 1
                time.sleep(1)
        except OSError:
            self.close_connection = True

    def slow(self, query):
        try:
            delay_ms = min(int(query.get("ms", ["1000"])[0]), 60_000)
        except ValueError:
            delay_ms = 1000
        time.sleep(delay_ms / 1000)
        self.answer(200, "text/plain; charset=utf-8", f"slept {delay_ms} ms\n".encode())

    def add_item(self):
        text = b""
        for piece in self.body():
            text += piece
            if len(text) > stock.MAX_BODY_BYTES:
                self.close_connection = True  # The rest is not read.
                return self.json(413, {"error": "That is too long."})
        try:
            self.json(201, stock.add(json.loads(text)))
        except (ValueError, RecursionError) as error:
            self.json(400, {"error": str(error)})

    def single_page(self, path):
        status, headers, body = single_page.answer(path, self.server.app_folder)
        self.answer(status, headers.pop("Content-Type"), body, headers)

    def json(self, status, value):
        """What is behind a login must not stay in a cache, where the next user of the machine finds it."""
        body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.answer(status, "application/json", body, {"Cache-Control": "no-store"})

    def body(self):
        """The pieces of the request's body, by length or in chunks."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while length := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left > 0:
                piece = self.rfile.read1(min(left, CHUNK_BYTES))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    def chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def answer(self, status, content_type, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *args):
        """Quiet: queries can carry secrets."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--app", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../app/dist"),
                        help="the folder that is served under /app/ (default: demo/app/dist)")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer((arguments.host, arguments.port), LegacyApp)
    server.daemon_threads = True
    server.app_folder = arguments.app
    print(f"legacy app on http://{arguments.host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
