"""AWS's own signer, as the judge of signatures that the gateway makes: one that a vendor got is made anew and compared."""

import hashlib
import http.server
import json
import threading
from datetime import datetime, timezone

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from gateway import AWS_KEYS

ANSWER = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
).encode()


class Vendor(http.server.BaseHTTPRequestHandler):
    """Keeps the last request; stands where the folder of `gateway.py` says that a vendor is."""

    last = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Vendor.last = (self.command, self.path, self.headers, body)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *words):
        pass


def signed_anew(method, path, headers, body, session):
    """The signature that botocore makes for what arrived, from the fields that are said to be signed."""
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    own = {name: headers[name] for name in names}
    request = AWSRequest(method=method, url=f"http://{headers['host']}{path}", headers=own, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(AWS_KEYS[0], AWS_KEYS[1], session), "bedrock", "eu-west-1")
    request.headers.replace_header("x-amz-content-sha256", hashlib.sha256(body).hexdigest())
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


def test_signatures_are_those_of_botocore(gateway):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", gateway.signed_port), Vendor)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for model, session in (("signed-plain", None), ("signed-session", AWS_KEYS[2])):
            for text in ("hi", "unicode \u00e9 \u4e2d \U0001f600", "x" * 300_000):
                answer = gateway.post(
                    "/v1/chat/completions?b=2&a=1%2F2&a=&c",
                    {"model": model, "messages": [{"role": "user", "content": text}]},
                )
                assert answer["choices"], answer
                method, path, headers, body = Vendor.last
                assert "%3Aaws%3Abedrock" in path and "%2Fm.v1%3A0/invoke?z=1&" in path, path
                assert headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
                assert headers["x-amz-security-token"] == session
                signed_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
                assert abs((datetime.now(timezone.utc) - signed_at).total_seconds()) < 60, signed_at
                signature = headers["authorization"].split("Signature=")[1]
                assert signature == signed_anew(method, path, headers, body, session), (model, path)
    finally:
        server.shutdown()
        server.server_close()
