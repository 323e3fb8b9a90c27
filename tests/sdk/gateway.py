"""A running gateway with a synthetic vendor behind it, for callers written in Python."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("WEIR_BIN_DIR", ROOT / "target/debug"))
SECRET = "sk-vendor-secret-of-the-sdk-tests"

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
            + ["--log", self.folder / "log"]
        )
        self.url = "http://" + ready["data"]
        return self

    def __exit__(self, *failure):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command):
        environment = dict(os.environ, SDK_SECRET=SECRET)
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
        text = '[[tenant]]\nname = "default"\n'
        for dialect, version in DIALECTS.items():
            for name, words in SCENARIOS.items():
                vendor = f"{dialect}-{name}"
                words = words.replace("@", "%40")
                text += f"""
[[vendor]]
name = "{vendor}"
dialect = "{dialect}"
base_url = "http://{address}/~name={dialect},{words}/{version}"
internal = true
[[vendor.credential]]
name = "main"
env = "SDK_SECRET"
[[model]]
vendor = "{vendor}"
id = "{vendor}"
upstream = "some-model"
[model.price]
input = "1"
output = "2"
"""
        (self.folder / "weir.d").mkdir()
        (self.folder / "weir.d/weir.toml").write_text(text)
