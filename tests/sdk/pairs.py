"""What the tests of pairs share: one question for all vendors' languages, asked at the same time."""

import json
from concurrent.futures import ThreadPoolExecutor

from gateway import LANGUAGES

TEXT = "The water behind the boards rises slowly until someone lifts one and"
THOUGHTS = SENTENCE = "The water behind"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
NAME, ABOUT = "get_weather", "Tells the weather."


def each(case):
    """Runs `case(language)` for every vendor's language, and tells all that fail."""

    def run(language):
        try:
            case(language)
        except Exception as failure:
            return f"{language}: {type(failure).__name__}: {str(failure)[:600]}"

    with ThreadPoolExecutor(len(LANGUAGES)) as pool:
        failures = [failure for failure in pool.map(run, LANGUAGES) if failure]
    assert not failures, "\n".join(failures)


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def right(arguments):
    """The arguments of a call, as an object or as text."""
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert arguments["days"] == 3 and arguments["city"].startswith("The"), arguments
