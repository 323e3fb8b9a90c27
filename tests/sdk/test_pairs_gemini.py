"""Google's SDK in front of vendors of all languages."""

from google.genai import types

from pairs import ABOUT, NAME, SENTENCE, TEXT, THOUGHTS, each, right, same
from test_gemini import client, raises

PARAMETERS = types.Schema(
    type="OBJECT", properties={"city": types.Schema(type="STRING"), "days": types.Schema(type="INTEGER")}, required=["city"]
)
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name=NAME, description=ABOUT, parameters=PARAMETERS)])
HI = types.Content(role="user", parts=[types.Part(text="hi")])


def test_generate(gateway):
    models = client(gateway).models

    def case(language):
        asked = {"model": f"pair-{language}-text", "contents": "hi", "config": types.GenerateContentConfig(system_instruction="Be kind.")}
        answer = models.generate_content(**asked)
        same((answer.text, answer.candidates[0].finish_reason), (TEXT, types.FinishReason.STOP))
        usage = answer.usage_metadata
        same((usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count), (100, 50, 150))
        chunks = list(models.generate_content_stream(**asked))
        same("".join(chunk.text or "" for chunk in chunks), TEXT)
        same(chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)
        same(chunks[-1].usage_metadata.total_token_count, 150)

    each(case)


def test_tools(gateway):
    models = client(gateway).models

    def case(language):
        config = types.GenerateContentConfig(
            tools=[TOOL],
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        asked = {"model": f"pair-{language}-agent", "config": config}
        answer = models.generate_content(contents=[HI], **asked)
        parts = answer.candidates[0].content.parts
        same("".join(part.text for part in parts if part.thought), THOUGHTS)
        same("".join(part.text or "" for part in parts if not part.thought), SENTENCE)
        for call in answer.function_calls:
            right(call.args)
        chunks = list(models.generate_content_stream(contents=[HI], **asked))
        streamed = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
        same([part.function_call.args for part in streamed if part.function_call], [call.args for call in answer.function_calls])
        for said in (answer.candidates[0].content, types.Content(role="model", parts=streamed)):
            calls = [part.function_call for part in said.parts if part.function_call]
            results = [
                types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"}))
                for call in calls
            ]
            next_turn = [HI, said, types.Content(role="user", parts=results)]
            assert models.generate_content(contents=next_turn, **asked).candidates

    each(case)


def test_errors(gateway):
    def case(language):
        def ask(name):
            return lambda: list(client(gateway).models.generate_content_stream(model=f"pair-{language}-{name}", contents="hi"))

        same(raises(ask("refusing")).code, 400)
        same(raises(ask("limited")).code, 429)
        raises(ask("broken"))

    each(case)
