"""Cohere's SDK in front of vendors of all languages, its own among them."""

import cohere
from cohere.core import ApiError

from pairs import ABOUT, NAME, SCHEMA, SENTENCE, TEXT, THOUGHTS, each, raises, right, same

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": NAME, "description": ABOUT, "parameters": SCHEMA}}
# Its own retries would hide what the tests look at.
ONCE = {"max_retries": 0}


def client(gateway):
    return cohere.ClientV2(api_key=gateway.key, base_url=gateway.url)


def test_chat(gateway):
    asking = client(gateway)

    def case(language):
        asked = {"model": f"pair-{language}-text", "messages": [{"role": "system", "content": "Be kind."}, *HI]}
        answer = asking.chat(**asked)
        same((answer.message.content[0].text, answer.finish_reason), (TEXT, "COMPLETE"))
        same((answer.usage.billed_units.input_tokens, answer.usage.billed_units.output_tokens), (100, 50))
        text, end = "", None
        for event in asking.chat_stream(**asked):
            if event.type == "content-delta":
                text += event.delta.message.content.text
            if event.type == "message-end":
                end = event.delta
        same((text, end.finish_reason), (TEXT, "COMPLETE"))
        same((end.usage.billed_units.input_tokens, end.usage.billed_units.output_tokens), (100, 50))

    each(case)


def test_tools(gateway):
    asking = client(gateway)

    def case(language):
        asked = {"model": f"pair-{language}-agent", "tools": [TOOL], "thinking": {"type": "enabled", "token_budget": 1024}}
        answer = asking.chat(messages=HI, **asked)
        said = answer.message.content
        same((said[0].thinking, said[1].text, answer.finish_reason), (THOUGHTS, SENTENCE, "TOOL_CALL"))
        for call in answer.message.tool_calls:
            right(call.function.arguments)
        arguments = {}
        for event in asking.chat_stream(messages=HI, **asked):
            if event.type == "tool-call-delta":
                arguments[event.index] = arguments.get(event.index, "") + event.delta.message.tool_calls.function.arguments
        same(len(arguments), 2)
        for call in arguments.values():
            right(call)
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.message.tool_calls]
        assert asking.chat(messages=[*HI, answer.message, *results], **asked).message

    each(case)


def test_errors(gateway):
    def case(language):
        asking = client(gateway)

        def ask(name):
            return asking.chat(model=f"pair-{language}-{name}", messages=HI, request_options=ONCE)

        same(raises(ApiError, lambda: ask("refusing")).status_code, 400)
        same(raises(ApiError, lambda: ask("limited")).status_code, 429)
        stream = asking.chat_stream(model=f"pair-{language}-broken", messages=HI, request_options=ONCE)
        ends = [event.delta for event in stream if event.type == "message-end"]
        same([end.finish_reason for end in ends], ["ERROR"])

    each(case)
