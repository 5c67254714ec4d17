"""A WSGI app that tells what it took a request for: which path, by which reading, and who asks.

It tells so in its answer, and in a datagram to whoever judges: a client that is refused sees no answer.
"""

import json
import os
import posixpath
import socket
from urllib.parse import unquote, urlsplit

COLLECTOR = ("127.0.0.1", int(os.environ["COLLECTOR"]))
OUT = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
IDENTITY = ["HTTP_X_AUTH_SUBJECT", "HTTP_X_AUTH_ROLES", "HTTP_X_AUTH_SCOPES", "HTTP_X_AUTH_SESSION"]


def split(target):
    try:
        return unquote(urlsplit(target).path, encoding="latin-1")
    except ValueError:
        return ""


def application(environ, start_response):
    target, path = environ.get("RAW_URI", ""), environ.get("PATH_INFO", "")
    environ["wsgi.input"].read()
    record = {
        "backend": "gunicorn",
        "case": environ.get("HTTP_X_CASE", ""),
        "method": environ["REQUEST_METHOD"],
        "target": target,
        "paths": {"PATH_INFO": path, "normpath": posixpath.normpath(path or "/"), "urlsplit": split(target)},
        "identity": {"environ": [environ.get(name, "") for name in IDENTITY]},
        "cookie": environ.get("HTTP_COOKIE", ""),
        "authorization": environ.get("HTTP_AUTHORIZATION", ""),
    }
    text = json.dumps(record).encode()
    OUT.sendto(text, COLLECTOR)
    echo = "".join(mark if " " < mark < "\x7f" else "?" for mark in target)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text))), ("X-Echo", echo)])
    return [text]
