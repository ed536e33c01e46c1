"""aiosfpubsub: SOAP login, topics, schemas and subscriptions, on asyncio.

The client trusts the authorities of certifi and accepts no others, so certifi names that of the org.
"""

import asyncio
import os

import certifi

import org
from org import equal, refused

certifi.where = lambda: os.environ["REQUESTS_CA_BUNDLE"]

import grpc  # noqa: E402
from aiosfpubsub import Client  # noqa: E402

CHANGES = "/data/AccountChangeEvent"


class Enough(Exception):
    """Ends a subscription, which has no other end."""


async def receive(client, preset, count, replay_id=None):
    """Subscribes until that many events came."""
    received = []

    def on_answer(answer, client):
        for one in answer.events:
            schema = client.get_schema_json(one.event.schema_id)
            received.append((client.decode(schema, one.event.payload), one.replay_id))
        if len(received) >= count:
            raise Enough

    try:
        await client.subscribe(CHANGES, preset, replay_id, 10, on_answer)
    except Enough:
        return received
    raise AssertionError("the subscription ended by itself")


async def main():
    """Plays all of it."""
    host, port = org.without_scheme(org.GRPCS).split(":")
    client = Client(org.HTTPS, org.USERNAME, org.PASSWORD, host, int(port), "62.0")
    client.auth()
    equal(client.get_topic(CHANGES).can_publish, False, "change events cannot be published")
    received = await receive(client, "EARLIEST", 3)
    equal([event["Name"] for event, _ in received], ["One", "Two", "Three"], "names from the beginning")
    equal(received[0][0]["ChangeEventHeader"]["changeType"], "CREATE", "kind of change")
    later = await receive(client, "CUSTOM", 1, received[1][1])
    equal([event["Name"] for event, _ in later], ["Three"], "names after a position")
    unknown = refused(grpc.RpcError, lambda: client.get_topic("/data/NopeChangeEvent"), "an unknown topic")
    equal(unknown.code(), grpc.StatusCode.NOT_FOUND, "status of an unknown topic")
    wrong = Client(org.HTTPS, org.USERNAME, "wrong", host, int(port), "62.0")
    refused(AttributeError, wrong.auth, "a wrong password, which the client does not expect")


asyncio.run(main())
