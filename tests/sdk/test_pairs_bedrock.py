"""Amazon's SDK in front of vendors of all languages, Bedrock's Converse among them. It authenticates with a bearer key."""

import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from pairs import ABOUT, NAME, SCHEMA, SENTENCE, TEXT, THOUGHTS, each, raises, right, same

HI = [{"role": "user", "content": [{"text": "hi"}]}]
TOOLS = {"tools": [{"toolSpec": {"name": NAME, "description": ABOUT, "inputSchema": {"json": SCHEMA}}}]}


def client(gateway):
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = gateway.key
    once = Config(retries={"total_max_attempts": 1}, max_pool_connections=16)
    where = {"endpoint_url": gateway.tls_url, "verify": gateway.ca, "region_name": "us-east-1"}
    # Sessions are not for several threads.
    return boto3.Session().client("bedrock-runtime", config=once, **where)


def says(block):
    thought = block.get("reasoningContent")
    return thought is None or thought.get("reasoningText", {}).get("text")


def test_converse(gateway):
    asking = client(gateway)

    def case(language):
        asked = {"modelId": f"pair-{language}-text", "messages": HI, "system": [{"text": "Be kind."}]}
        answer = asking.converse(**asked)
        same((answer["output"]["message"]["content"][0]["text"], answer["stopReason"]), (TEXT, "end_turn"))
        usage = answer["usage"]
        same((usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]), (100, 50, 150))
        events = list(asking.converse_stream(**asked)["stream"])
        same("".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event), TEXT)
        same([next(iter(event)) for event in events[-2:]], ["messageStop", "metadata"])
        same(events[-1]["metadata"]["usage"]["totalTokens"], 150)

    each(case)


def test_tools(gateway):
    asking = client(gateway)

    def case(language):
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        asked = {
            "modelId": f"pair-{language}-agent",
            "toolConfig": TOOLS,
            "inferenceConfig": {"maxTokens": 4000},
            "additionalModelRequestFields": thinking,
        }
        answer = asking.converse(messages=HI, **asked)
        message = answer["output"]["message"]
        # Signatures stand beside what they sign.
        thought, text, *calls = [block for block in message["content"] if says(block)]
        same(thought["reasoningContent"]["reasoningText"]["text"], THOUGHTS)
        same((text["text"], answer["stopReason"], len(calls)), (SENTENCE, "tool_use", 2))
        for call in calls:
            right(call["toolUse"]["input"])
        arguments = {}
        for event in asking.converse_stream(messages=HI, **asked)["stream"]:
            delta = event.get("contentBlockDelta", {})
            if "toolUse" in delta.get("delta", {}):
                index = delta["contentBlockIndex"]
                arguments[index] = arguments.get(index, "") + delta["delta"]["toolUse"]["input"]
        same(len(arguments), 2)
        for call in arguments.values():
            right(call)
        results = [
            {"toolResult": {"toolUseId": call["toolUse"]["toolUseId"], "content": [{"text": "sunny"}]}} for call in calls
        ]
        assert asking.converse(messages=[*HI, message, {"role": "user", "content": results}], **asked)["output"]

    each(case)


def test_errors(gateway):
    def case(language):
        asking = client(gateway)

        def ask(name):
            return asking.converse(modelId=f"pair-{language}-{name}", messages=HI)

        same(raises(ClientError, lambda: ask("refusing")).response["Error"]["Code"], "ValidationException")
        same(raises(ClientError, lambda: ask("limited")).response["Error"]["Code"], "ThrottlingException")
        stream = asking.converse_stream(modelId=f"pair-{language}-broken", messages=HI)["stream"]
        raises(EventStreamError, lambda: list(stream))

    each(case)
