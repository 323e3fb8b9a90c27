"""LangChain for Python, through its OpenAI, Anthropic and Google integrations, in front of vendors of all languages."""

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError
from langchain_openai import ChatOpenAI

from pairs import ABOUT, NAME, SCHEMA, TEXT, each, right, same

TOOL = {"type": "function", "function": {"name": NAME, "description": ABOUT, "parameters": SCHEMA}}
CITY = {"title": "City", "description": "A city.", **SCHEMA}


def makers(gateway):
    return {
        "openai": lambda model: ChatOpenAI(model=model, api_key=gateway.key, base_url=gateway.url + "/v1", max_retries=0, stream_usage=True),
        "responses": lambda model: ChatOpenAI(
            model=model, api_key=gateway.key, base_url=gateway.url + "/v1", max_retries=0, use_responses_api=True, store=False
        ),
        "anthropic": lambda model: ChatAnthropic(
            model=model, api_key=gateway.key, base_url=gateway.url, max_retries=0, max_tokens=4000
        ),
        "google": lambda model: ChatGoogleGenerativeAI(
            model=model, google_api_key=gateway.key, base_url=gateway.url, max_retries=1
        ),
    }


def every(gateway, ask):
    """Each integration with each vendor's language."""

    def case(language):
        for name, make in makers(gateway).items():
            try:
                ask(lambda scenario: make(f"pair-{language}-{scenario}"), name)
            except Exception as failure:
                raise AssertionError(f"as {name}: {type(failure).__name__}: {failure}") from failure

    each(case)


def test_unary(gateway):
    def ask(model, _):
        answer = model("text").invoke("hi")
        usage = answer.usage_metadata
        same((answer.text, usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]), (TEXT, 100, 50, 150))

    every(gateway, ask)


def test_stream(gateway):
    def ask(model, _):
        whole = None
        for chunk in model("text").stream("hi"):
            whole = chunk if whole is None else whole + chunk
        same((whole.text, whole.usage_metadata["output_tokens"]), (TEXT, 50))

    every(gateway, ask)


def test_tools(gateway):
    def ask(model, _):
        bound = model("tool").bind_tools([TOOL])
        answer = bound.invoke("hi")
        same(len(answer.tool_calls), 1)
        right(answer.tool_calls[0]["args"])
        results = [ToolMessage(tool_call_id=call["id"], content="sunny") for call in answer.tool_calls]
        assert bound.invoke([HumanMessage("hi"), answer, *results])

    every(gateway, ask)


def test_structured(gateway):
    def ask(model, _):
        right(model("json").with_structured_output(CITY, method="json_schema").invoke("hi"))

    every(gateway, ask)


def test_errors(gateway):
    kinds = (openai.APIStatusError, anthropic.APIStatusError, ChatGoogleGenerativeAIError)

    def status(error):
        told = getattr(error, "status_code", None) or getattr(error, "code", None) or getattr(error.__cause__, "code", None)
        return told

    def ask(model, _):
        for scenario, expected in (("refusing", 400), ("limited", 429)):
            try:
                model(scenario).invoke("hi")
            except kinds as error:
                same(status(error), expected)
            else:
                raise AssertionError(f"{scenario}: no error")

    every(gateway, ask)
