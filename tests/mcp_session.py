"""Calls of tools by the SDK's own client, in this process."""

import anyio
from mcp import Client


def asked(server, *calls):
    """The results of several calls in one session."""

    async def session():
        async with Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(session)


def answer(server, name, **arguments):
    (result,) = asked(server, (name, arguments))
    assert not result.is_error, result.content
    return result


def failure(server, name, **arguments):
    (result,) = asked(server, (name, arguments))
    assert result.is_error
    assert result.structured_content is None
    text = result.content[0].text
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def ids(result):
    return [item["item_id"] for item in result.structured_content["items"]]
