"""Serves the built single-page app of demo/app under /app/.

The files are found by listing the folder, never by joining a path that a client sent, so no path leads out of it.
"""

import mimetypes
import os

# No inline script and no inline style: what somebody manages to write into the page does not run.
POLICY = "; ".join((
    "default-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "style-src 'self'",
    "script-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "object-src 'none'",
))
NOT_BUILT = b"The app is not built. `make demo` builds it; by hand: npm ci and npm run build, in client/ and then in demo/app/.\n"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".html": "text/html; charset=utf-8", ".webmanifest": "application/manifest+json"}


def answer(path, folder):
    """Status, headers and body for a GET of `path`, which is /app or below."""
    if path == "/app":
        return 308, headers("text/plain; charset=utf-8") | {"Location": "/app/"}, b""
    name = path.removeprefix("/app/")
    file = files(folder).get(name)
    if file is None and (name.startswith("assets/") or "." in name.rpartition("/")[2]):
        # A file of an older build, most likely. A page in its place would be run as a script.
        return 404, headers("text/plain; charset=utf-8"), b"not found\n"
    if file is None:
        # Any other path is the app's own business: it looks at the address itself.
        name, file = "index.html", files(folder).get("index.html")
    if file is None:
        return 503, headers("text/plain; charset=utf-8"), NOT_BUILT
    with open(file, "rb") as opened:
        body = opened.read()
    return 200, headers(kind(name), forever=name.startswith("assets/")), body


def files(folder):
    """What may be served: the name in the address, and where the file is."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(base, name)
            found[os.path.relpath(full, folder).replace(os.sep, "/")] = full
    return found


def headers(content_type, forever=False):
    """The names under assets/ have a hash of the content in them, so they never change. The page must always be asked for."""
    return {
        "Content-Type": content_type,
        "Cache-Control": "public, max-age=31536000, immutable" if forever else "no-cache",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def kind(name):
    extension = os.path.splitext(name)[1]
    return TYPES.get(extension) or mimetypes.guess_type(name)[0] or "application/octet-stream"
