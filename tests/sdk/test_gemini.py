"""Google's SDK as a caller."""

from google import genai
from google.genai import errors, types


# This SDK closes its connections when nobody holds the client any more, also in the middle of a call.
CLIENTS = []


def client(gateway, key=None, version="v1beta"):
    options = types.HttpOptions(base_url=gateway.url, api_version=version)
    CLIENTS.append(genai.Client(api_key=key or gateway.key, http_options=options))
    return CLIENTS[-1]


def raises(call):
    try:
        call()
    except errors.APIError as error:
        return error
    raise AssertionError("no APIError")


def test_generate(gateway):
    for version in ("v1", "v1beta"):
        answer = client(gateway, version=version).models.generate_content(model="gemini-good", contents="hi")
        assert answer.text and answer.usage_metadata.candidates_token_count == 12


def test_generate_stream(gateway):
    chunks = list(client(gateway).models.generate_content_stream(model="gemini-good", contents="hi"))
    assert len("".join(chunk.text or "" for chunk in chunks).split()) == 12
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_tools(gateway):
    answer = client(gateway).models.generate_content(model="gemini-tools", contents="hi")
    assert len(answer.function_calls) == 2


def test_count_and_embed(gateway):
    assert client(gateway).models.count_tokens(model="gemini-good", contents="hi").total_tokens > 0
    assert client(gateway).models.embed_content(model="gemini-good", contents="hi").embeddings[0].values


def test_models(gateway):
    names = {model.name for model in client(gateway).models.list()}
    assert {"models/gemini-good", "models/openai-good"} <= names, names


def test_errors_are_typed(gateway):
    def ask(model, key=None):
        return lambda: client(gateway, key).models.generate_content(model=model, contents="hi")

    assert raises(ask("gemini-good", "nobody")).code == 401
    error = raises(ask("nobody"))
    assert (error.code, error.status) == (404, "NOT_FOUND")
    assert raises(ask("gemini-limited")).code == 429
    assert raises(ask("gemini-overloaded")).code == 503
    assert raises(ask("gemini-refusing")).code == 400


def test_a_stream_that_breaks_is_an_error(gateway):
    for model in ("gemini-broken", "gemini-failing"):
        raises(lambda model=model: list(client(gateway).models.generate_content_stream(model=model, contents="hi")))
