"""Anthropic's SDK as a caller."""

import anthropic


def client(gateway, **options):
    return anthropic.Anthropic(base_url=gateway.url, api_key=options.pop("api_key", gateway.key), max_retries=0, **options)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def ask(gateway, model, **options):
    asking = client(gateway, **options)
    return asking.messages.create(model=model, max_tokens=99, messages=[{"role": "user", "content": "hi"}])


def streamed(gateway, model):
    return client(gateway).messages.stream(model=model, max_tokens=99, messages=[{"role": "user", "content": "hi"}])


def test_messages(gateway):
    answer = ask(gateway, "anthropic-good")
    assert answer.content[0].text and answer.stop_reason == "end_turn" and answer.usage.output_tokens == 12


def test_messages_stream(gateway):
    with streamed(gateway, "anthropic-good") as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert len(text.split()) == 12 and final.stop_reason == "end_turn" and final.usage.output_tokens == 12


def test_tools(gateway):
    with streamed(gateway, "anthropic-tools") as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content].count("tool_use") == 2


def test_beta_and_bearer(gateway):
    asking = anthropic.Anthropic(base_url=gateway.url, auth_token=gateway.key, api_key=None, max_retries=0)
    answer = asking.beta.messages.create(
        model="anthropic-good", max_tokens=9, messages=[{"role": "user", "content": "hi"}], betas=["context-management-2025-06-27"]
    )
    assert answer.content


def test_count_tokens(gateway):
    answer = client(gateway).messages.count_tokens(model="anthropic-good", messages=[{"role": "user", "content": "hi"}])
    assert answer.input_tokens > 0


def test_models(gateway):
    names = {model.id for model in client(gateway).models.list()}
    assert {"anthropic-good", "openai-good"} <= names
    assert client(gateway).models.retrieve("anthropic-good").id == "anthropic-good"


def test_errors_are_typed(gateway):
    error = raises(anthropic.AuthenticationError, lambda: ask(gateway, "anthropic-good", api_key="nobody"))
    assert error.request_id.startswith("req_")
    raises(anthropic.NotFoundError, lambda: ask(gateway, "nobody"))
    assert raises(anthropic.RateLimitError, lambda: ask(gateway, "anthropic-limited")).response.headers["retry-after"] == "1"
    raises(anthropic.InternalServerError, lambda: ask(gateway, "anthropic-overloaded"))
    raises(anthropic.BadRequestError, lambda: ask(gateway, "anthropic-refusing"))


def test_a_stream_that_breaks_is_an_error(gateway):
    def read(model):
        with streamed(gateway, model) as stream:
            return list(stream)

    raises(anthropic.APIError, lambda: read("anthropic-broken"))
    raises(anthropic.APIError, lambda: read("anthropic-failing"))
