"""OpenAI's SDK in front of vendors of all languages: chat completions and responses."""

import openai

from pairs import ABOUT, NAME, SCHEMA, SENTENCE, TEXT, THOUGHTS, each, raises, right, same
from test_openai import client

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": NAME, "description": ABOUT, "parameters": SCHEMA}}
FLAT = {"type": "function", "name": NAME, "description": ABOUT, "parameters": SCHEMA, "strict": False}


def test_chat(gateway):
    chat = client(gateway).chat.completions

    def case(language):
        answer = chat.create(model=f"pair-{language}-text", messages=HI)
        choice = answer.choices[0]
        same((choice.message.content, choice.finish_reason), (TEXT, "stop"))
        same((answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens), (100, 50, 150))

    each(case)


def test_chat_stream(gateway):
    chat = client(gateway).chat.completions

    def case(language):
        options = {"include_usage": True}
        with chat.stream(model=f"pair-{language}-text", messages=HI, stream_options=options) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        same(("".join(deltas), final.choices[0].message.content), (TEXT, TEXT))
        same((final.choices[0].finish_reason, final.usage.total_tokens), ("stop", 150))

    each(case)


def test_chat_tools(gateway):
    chat = client(gateway).chat.completions

    def case(language):
        asked = {"model": f"pair-{language}-agent", "tools": [TOOL], "reasoning_effort": "low"}
        answer = chat.create(messages=HI, **asked)
        message = answer.choices[0].message
        same((message.content, answer.choices[0].finish_reason), (SENTENCE, "tool_calls"))
        for call in message.tool_calls:
            right(call.function.arguments)
        with chat.stream(messages=HI, **asked) as stream:
            final = stream.get_final_completion().choices[0].message
        same([call.function.arguments for call in final.tool_calls], [call.function.arguments for call in message.tool_calls])
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
        assert chat.create(messages=[*HI, message, *results], **asked).choices
        # As those who keep conversations in a database say it again.
        assert chat.create(messages=[*HI, message.model_dump(exclude_none=True), *results], **asked).choices

    each(case)


def test_chat_errors(gateway):
    def case(language):
        def ask(name, **options):
            return list(client(gateway).chat.completions.create(model=f"pair-{language}-{name}", messages=HI, stream=True, **options))

        raises(openai.BadRequestError, lambda: ask("refusing"))
        same(raises(openai.RateLimitError, lambda: ask("limited")).response.headers["retry-after"], "1")
        raises(openai.APIError, lambda: ask("broken"))
        if language != "chat":
            error = raises(openai.BadRequestError, lambda: ask("text", extra_body={"frobnicate": 1}))
            assert "frobnicate" in str(error), error

    each(case)


def test_responses(gateway):
    api = client(gateway).responses

    def case(language):
        answer = api.create(model=f"pair-{language}-text", input="hi", store=False)
        same((answer.output_text, answer.status), (TEXT, "completed"))
        same((answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens), (100, 50, 150))
        with api.stream(model=f"pair-{language}-text", input="hi", store=False) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        same((kinds[0], kinds[-1], final.output_text), ("response.created", "response.completed", TEXT))
        same(final.usage.total_tokens, 150)

    each(case)


def test_responses_tools(gateway):
    api = client(gateway).responses

    def case(language):
        asked = {
            "model": f"pair-{language}-agent",
            "tools": [FLAT],
            "store": False,
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
        }
        answer = api.create(input=HI, **asked)
        calls = [item for item in answer.output if item.type == "function_call"]
        thoughts = [item for item in answer.output if item.type == "reasoning"]
        same((answer.output_text, len(calls)), (SENTENCE, 2))
        # Where another vendor signs more than its thoughts, its proofs are items of their own.
        same("".join(part.text for item in thoughts for part in item.summary), THOUGHTS)
        for call in calls:
            right(call.arguments)
        with api.stream(input=HI, **asked) as stream:
            list(stream)
            final = stream.get_final_response()
        same([item.type for item in final.output], [item.type for item in answer.output])
        for whole in (answer, final):
            results = [
                {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
                for item in whole.output
                if item.type == "function_call"
            ]
            said = [item.model_dump(exclude_none=True, exclude={"status"}) for item in whole.output]
            assert api.create(input=[*HI, *said, *results], **asked).output

    each(case)


def test_responses_errors(gateway):
    def case(language):
        def ask(name):
            return [event.type for event in client(gateway).responses.create(model=f"pair-{language}-{name}", input="hi", stream=True)]

        raises(openai.BadRequestError, lambda: ask("refusing"))
        raises(openai.RateLimitError, lambda: ask("limited"))
        assert ask("broken")[-1] in ("response.failed", "error")

    each(case)
