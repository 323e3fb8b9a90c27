"""Anthropic's SDK in front of vendors of all languages."""

import anthropic

from pairs import ABOUT, NAME, SCHEMA, SENTENCE, TEXT, THOUGHTS, each, raises, right, same
from test_anthropic import client

HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": NAME, "description": ABOUT, "input_schema": SCHEMA}


def test_messages(gateway):
    messages = client(gateway).messages

    def case(language):
        asked = {"model": f"pair-{language}-text", "max_tokens": 4000, "messages": HI, "system": "Be kind."}
        answer = messages.create(**asked)
        same((answer.content[0].text, answer.stop_reason), (TEXT, "end_turn"))
        same((answer.usage.input_tokens, answer.usage.output_tokens), (100, 50))
        with messages.stream(**asked) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        same((text, final.content[0].text, final.stop_reason), (TEXT, TEXT, "end_turn"))
        same((final.usage.input_tokens, final.usage.output_tokens), (100, 50))

    each(case)


def test_tools(gateway):
    messages = client(gateway).messages

    def case(language):
        asked = {
            "model": f"pair-{language}-agent",
            "max_tokens": 4000,
            "tools": [TOOL],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
        answer = messages.create(messages=HI, **asked)
        with messages.stream(messages=HI, **asked) as stream:
            final = stream.get_final_message()
        for whole in (answer, final):
            # Where another vendor signs more than its thoughts, its proofs are blocks of their own.
            blocks = [block for block in whole.content if getattr(block, "thinking", block.type) not in ("", "redacted_thinking")]
            same([block.type for block in blocks], ["thinking", "text", "tool_use", "tool_use"])
            same((blocks[0].thinking, blocks[1].text, whole.stop_reason), (THOUGHTS, SENTENCE, "tool_use"))
            calls = blocks[2:]
            for call in calls:
                right(call.input)
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
            next_turn = [*HI, {"role": "assistant", "content": whole.content}, {"role": "user", "content": results}]
            assert messages.create(messages=next_turn, **asked).content
        same(final.content[0].signature, answer.content[0].signature)

    each(case)


def test_errors(gateway):
    def case(language):
        def ask(name, **options):
            asked = {"model": f"pair-{language}-{name}", "max_tokens": 99, "messages": HI}
            with client(gateway).messages.stream(**asked, **options) as stream:
                return stream.get_final_message()

        raises(anthropic.BadRequestError, lambda: ask("refusing"))
        same(raises(anthropic.RateLimitError, lambda: ask("limited")).response.headers["retry-after"], "1")
        raises(anthropic.APIError, lambda: ask("broken"))
        if language != "messages":
            error = raises(anthropic.BadRequestError, lambda: ask("text", extra_body={"frobnicate": 1}))
            assert "frobnicate" in str(error), error

    each(case)
