"""A browser that subscribed to push messages."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Browser:
    """What a browser keeps: it alone can read what was encrypted for it."""

    def __init__(self, endpoint: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b"0123456789abcdef"
        public = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        keys = {"p256dh": encoded(public), "auth": encoded(self.secret)}
        self.subscription = json.dumps({"endpoint": endpoint, "keys": keys})

    def read(self, data: Any) -> Any:
        return json.loads(
            http_ece.decrypt(
                data, private_key=self.key, auth_secret=self.secret, version="aes128gcm"
            )
        )


def encoded(raw: Any) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
