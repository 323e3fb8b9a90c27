"""OpenAI's SDK as a caller."""

import io

import openai


def client(gateway, **options):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=options.pop("api_key", gateway.key), max_retries=0, **options)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


HI = [{"role": "user", "content": "hi"}]


def test_chat(gateway):
    answer = client(gateway).chat.completions.create(model="openai-good", messages=HI)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12


def test_chat_stream(gateway):
    stream = client(gateway).chat.completions.create(model="openai-good", messages=HI, stream=True)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) == 12, text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_with_usage(gateway):
    options = {"include_usage": True}
    chunks = list(client(gateway).chat.completions.create(model="openai-good", messages=HI, stream=True, stream_options=options))
    assert chunks[-1].usage.completion_tokens == 12


def test_tools(gateway):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    answer = client(gateway).chat.completions.create(model="openai-tools", messages=HI, tools=[tool])
    assert len(answer.choices[0].message.tool_calls) == 2
    with client(gateway).chat.completions.stream(model="openai-tools", messages=HI, tools=[tool]) as stream:
        final = stream.get_final_completion()
    assert len(final.choices[0].message.tool_calls) == 2


def test_completions(gateway):
    answer = client(gateway).completions.create(model="openai-good", prompt="hi")
    assert answer.choices[0].text
    chunks = list(client(gateway).completions.create(model="openai-good", prompt="hi", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)


def test_responses(gateway):
    api = client(gateway).responses
    answer = api.create(model="openai-good", input="hi")
    assert answer.output_text and answer.status == "completed"
    again = api.retrieve(answer.id)
    assert again.id == answer.id
    following = api.create(model="openai-good", input="and?", previous_response_id=answer.id)
    assert following.output_text
    api.delete(answer.id)


def test_responses_stream(gateway):
    with client(gateway).responses.stream(model="openai-good", input="hi") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert final.output_text


def test_responses_that_break(gateway):
    kinds = [event.type for event in client(gateway).responses.create(model="openai-broken", input="hi", stream=True)]
    assert kinds[-1] in ("response.failed", "error"), kinds


def test_embeddings(gateway):
    answer = client(gateway).embeddings.create(model="openai-good", input=["a", "b"])
    assert len(answer.data) == 2 and answer.data[0].embedding


def test_models(gateway):
    api = client(gateway).models
    names = {model.id for model in api.list()}
    assert {"openai-good", "openai-slow", "gemini-good"} <= names
    assert api.retrieve("openai-good").id == "openai-good"
    assert raises(openai.NotFoundError, lambda: api.retrieve("nobody")).code == "model_not_found"


def test_files(gateway):
    api = client(gateway).files
    made = api.create(file=("a.jsonl", io.BytesIO(b'{"a":1}\n')), purpose="batch")
    assert api.retrieve(made.id).id == made.id
    assert api.content(made.id).read() is not None
    batch = client(gateway).batches.create(input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert client(gateway).batches.retrieve(batch.id).id == batch.id
    api.delete(made.id)


def test_audio_and_images(gateway):
    assert client(gateway).audio.transcriptions.create(model="openai-good", file=("a.wav", io.BytesIO(b"RIFF" * 1000))).text
    assert client(gateway).audio.speech.create(model="openai-good", voice="alloy", input="hi").read()
    assert client(gateway).images.generate(model="openai-good", prompt="a fish").data


def test_moderations(gateway):
    assert client(gateway).moderations.create(model="openai-good", input="hi").results


def chat(gateway, model, **options):
    return client(gateway, **options).chat.completions.create(model=model, messages=HI)


def test_errors_are_typed(gateway):
    error = raises(openai.AuthenticationError, lambda: chat(gateway, "openai-good", api_key="nobody"))
    assert error.code == "invalid_api_key" and error.request_id.startswith("req_")
    assert raises(openai.NotFoundError, lambda: chat(gateway, "nobody")).code == "model_not_found"
    error = raises(openai.RateLimitError, lambda: chat(gateway, "openai-limited"))
    assert error.response.headers["retry-after"] == "1"
    assert raises(openai.InternalServerError, lambda: chat(gateway, "openai-overloaded")).code == "upstream_overloaded"
    raises(openai.BadRequestError, lambda: chat(gateway, "openai-refusing"))
    chat(gateway, "openai-good", api_key=gateway.limited_key)
    error = raises(openai.RateLimitError, lambda: chat(gateway, "openai-good", api_key=gateway.limited_key))
    assert error.code == "rate_limit_exceeded"


def test_a_stream_that_breaks_is_an_error(gateway):
    def read(model):
        return list(client(gateway).chat.completions.create(model=model, messages=HI, stream=True))

    assert "upstream_connection_lost" in str(raises(openai.APIError, lambda: read("openai-broken")).code)
    raises(openai.APIError, lambda: read("openai-failing"))


def test_a_stream_that_is_closed(gateway):
    stream = client(gateway).chat.completions.create(model="openai-slow", messages=HI, stream=True)
    next(iter(stream))
    stream.close()
    assert chat(gateway, "openai-good").choices
