"""Claude Code and Codex as callers, where WEIR_AGENTS names the folder that they are installed in."""

import json
import os
import pathlib
import subprocess
import tempfile

from pairs import each

FOLDER = os.environ.get("WEIR_AGENTS")


def run(command, variables):
    """In an empty home, with nothing of the machine's own configuration."""
    with tempfile.TemporaryDirectory(prefix="weir-agent-") as home:
        for name, text in variables.pop("files", {}).items():
            path = pathlib.Path(home) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        program = pathlib.Path(FOLDER) / "node_modules/.bin" / command[0]
        return subprocess.run(
            [program, *command[1:]],
            env={"PATH": os.environ["PATH"], "HOME": home, **variables},
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


def claude(gateway, model):
    quiet = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY"]
    variables = {name: "1" for name in quiet} | {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": gateway.key}
    done = run(["claude", "-p", "hi", "--output-format", "json", "--model", model], variables)
    return done, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else None


def codex(gateway, model):
    config = f"""
model = "{model}"
model_provider = "weir"
[model_providers.weir]
name = "weir"
base_url = "{gateway.url}/v1"
wire_api = "responses"
env_key = "WEIR_KEY"
request_max_retries = 0
stream_max_retries = 0
"""
    command = ["codex", "exec", "--skip-git-repo-check", "--json", "-s", "read-only", "hi"]
    return run(command, {"WEIR_KEY": gateway.key, "files": {".codex/config.toml": config}})


if FOLDER:

    def test_claude_code(gateway):
        done, said = claude(gateway, "anthropic-good")
        assert done.returncode == 0 and said, done.stdout + done.stderr
        last = said[-1] if isinstance(said, list) else said
        assert last["is_error"] is False and last["result"], said

    def test_claude_code_with_an_unknown_model(gateway):
        done, said = claude(gateway, "no-such-model")
        assert done.returncode != 0 or "is_error" in json.dumps(said), done.stdout

    def test_codex(gateway):
        done = codex(gateway, "openai-good")
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        kinds = [event.get("type") for event in events]
        assert done.returncode == 0 and "turn.completed" in kinds, done.stdout + done.stderr

    def test_codex_when_the_vendor_breaks(gateway):
        done = codex(gateway, "openai-broken")
        assert "turn.failed" in done.stdout or done.returncode != 0, done.stdout + done.stderr

    def test_agents_with_models_of_other_languages(gateway):
        """The vendors are strict: they refuse what the real ones refuse."""

        def case(language):
            if language != "responses":
                done = codex(gateway, f"pair-{language}-text")
                assert "The water behind" in done.stdout and '"turn.completed"' in done.stdout, done.stdout
            if language != "messages":
                done, said = claude(gateway, f"pair-{language}-text")
                assert said, done.stdout + done.stderr
                last = said[-1] if isinstance(said, list) else said
                assert last["is_error"] is False and "The water behind" in last["result"], last["result"]

        each(case)
