"""A running gateway with a synthetic vendor behind it, for callers written in Python."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("WEIR_BIN_DIR", ROOT / "target/debug"))
SECRET = "sk-vendor-secret-of-the-sdk-tests"
# Id, secret, session.
AWS_KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/of+the=tests")

DIALECTS = {"openai": "v1", "anthropic": "v1", "gemini": "v1beta"}

# Model names and how their vendor behaves; every dialect has each of them.
SCENARIOS = {
    "good": "events=12",
    "tools": "answer=tools",
    "slow": "events=40,pace=30ms",
    "limited": "error=429,retry_after=1",
    "overloaded": "error=503",
    "refusing": "error=400",
    "broken": "events=12,fault=eof@4",
    "failing": "events=12,fault=errorevent@4",
}

# The six languages as vendors: dialect, version in the path, lines of the vendor's table and of the model's. Their vendors
# are strict: they refuse what the real ones refuse.
LANGUAGES = {
    "chat": ("openai", "/v1", "responses = false", ""),
    "responses": ("openai", "/v1", "", 'path = "responses"'),
    "messages": ("anthropic", "/v1", "", ""),
    "generate": ("gemini", "/v1beta", "", ""),
    "cohere": ("cohere", "", "", ""),
    "converse": ("bedrock", "", "", ""),
}
PAIR_SCENARIOS = {
    "text": "strict=yes,events=12,tokens_in=100,tokens_out=50",
    "tool": "strict=yes,answer=tool,events=12",
    "agent": "strict=yes,answer=agent,events=12",
    "json": "strict=yes,answer=json,events=12",
    "limited": "error=429,retry_after=1",
    "refusing": "error=400",
    "broken": "events=12,fault=eof@4",
}


class Gateway:
    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-sdk-"))
        self.processes = []
        vendor = self.start([BINARIES / "weirbench", "provider", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        self.write_folder(vendor["data"])
        self.weirctl("apply")
        self.key = json.loads(self.weirctl("key", "create", "--name", "sdk", "--json"))["key"]
        limited = json.loads(self.weirctl("key", "create", "--name", "limited", "--rpm", "1", "--json"))
        self.limited_key = limited["key"]
        ready = self.start(
            [BINARIES / "weir", "--state", self.folder / "state", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
            + ["--log", self.folder / "log", *self.certificate()]
        )
        self.url = "http://" + ready["data"]
        # Amazon's SDK shows a bearer key to nobody without TLS.
        self.tls_url = "https://localhost:" + ready["tls"].rsplit(":")[-1]
        return self

    def certificate(self):
        """Another synthetic vendor makes one for localhost; who trusts `self.ca` trusts it."""
        folder = self.folder / "tls"
        self.start([BINARIES / "weirbench", "provider", "--listen", "127.0.0.1:0", "--tls", "--cert-out", folder])
        self.ca = str(folder / "ca.pem")
        return ["--tls-listen", "127.0.0.1:0", "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]

    def __exit__(self, *failure):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command):
        environment = dict(os.environ, SDK_SECRET=SECRET)
        environment.update(AWS_PLAIN=":".join(AWS_KEYS[:2]), AWS_SESSION=":".join(AWS_KEYS))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        self.processes.append(process)
        for line in process.stdout:
            if '"data"' in line:
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return json.loads(line)
        raise RuntimeError(f"{command[0]} does not come up")

    def weirctl(self, *arguments):
        command = [BINARIES / "weirctl", *arguments, "--state", self.folder / "state", "--folder", self.folder / "weir.d"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def write_folder(self, address):
        # Vendors that fail on purpose, for one caller after the other: a breaker would answer in their place.
        text = '[gateway.breaker]\ncounts = []\n[[tenant]]\nname = "default"\n'
        for language, (dialect, version, vendor_lines, model_lines) in LANGUAGES.items():
            for name, words in PAIR_SCENARIOS.items():
                base = f"http://{address}/~name={language},{words.replace('@', '%40')}{version}"
                text += model(f"pair-{language}-{name}", dialect, base, vendor_lines, model_lines + "\nreasoning = true")
        for dialect, version in DIALECTS.items():
            for name, words in SCENARIOS.items():
                base = f"http://{address}/~name={dialect},{words.replace('@', '%40')}/{version}"
                text += model(f"{dialect}-{name}", dialect, base)
        self.signed_port = free_port()
        for name in ("plain", "session"):
            text += SIGNED.format(name=name, variable=f"AWS_{name.upper()}", port=self.signed_port)
        (self.folder / "weir.d").mkdir()
        (self.folder / "weir.d/weir.toml").write_text(text)

    def node(self):
        """What the tests in JavaScript are told of all this."""
        told = {"url": self.url, "key": self.key, "languages": list(LANGUAGES)}
        return dict(os.environ, WEIR_TESTS=json.dumps(told), NO_COLOR="1")

    def post(self, path, body):
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


# A model whose name is an ARN, in the middle of a path, with a query behind: all that a signature depends on.
SIGNED = """
[[vendor]]
name = "signed-{name}"
dialect = "openai"
base_url = "http://127.0.0.1:{port}/base"
internal = true
auth = "aws-sigv4"
region = "eu-west-1"
[[vendor.path]]
endpoint = "*"
to = "model/{{model}}/invoke?z=1"
[[vendor.credential]]
name = "main"
env = "{variable}"
[[model]]
vendor = "signed-{name}"
id = "signed-{name}"
upstream = "arn:aws:bedrock:eu-west-1:1:inference-profile/m.v1:0"
free = true
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def model(name, dialect, base_url, vendor_lines="", model_lines=""):
    return f"""
[[vendor]]
name = "{name}"
dialect = "{dialect}"
base_url = "{base_url}"
internal = true
{vendor_lines}
[[vendor.credential]]
name = "main"
env = "SDK_SECRET"
[[model]]
vendor = "{name}"
id = "{name}"
upstream = "some-model"
{model_lines}
[model.price]
input = "1"
output = "2"
"""
