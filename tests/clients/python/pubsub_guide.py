"""pysfpubsub: the class of the Python quick start of Salesforce's Pub/Sub guide, as a package.

The class trusts the authorities of certifi and accepts no others, so certifi names that of the org.
"""

import logging
import os
import time

import certifi
import requests

import org
from org import equal, holds, refused

certifi.where = lambda: os.environ["REQUESTS_CA_BUNDLE"]

import grpc  # noqa: E402
from pysfpubsub.pubsub import Client  # noqa: E402

CHANGES = "/data/AccountChangeEvent"
MARKER = "/event/Sync_Marker__e"


class Enough(Exception):
    """Ends a subscription, which has no other end."""


class Received:
    """Collects events until there are enough; asks for more as the guide does."""

    def __init__(self, count, on_idle=lambda: None):
        self.events = []
        self.replay_ids = []
        self.count = count
        self.on_idle = on_idle

    def __call__(self, response, client):
        """Is called with every answer of a subscription."""
        for one in response.events:
            schema = client.get_schema_json(one.event.schema_id)
            self.events.append(client.decode(schema, one.event.payload))
            self.replay_ids.append(one.replay_id)
        if response.pending_num_requested == 0:
            client.release_subscription_semaphore()
        if not response.events:
            self.on_idle()
        if len(self.events) >= self.count:
            raise Enough


def connect(password=org.PASSWORD + org.SECURITY_TOKEN):
    """Logs in by SOAP."""
    host, port = org.without_scheme(org.GRPCS).split(":")
    client = Client(org.HTTPS, org.USERNAME, password, host, int(port), "62.0")
    client.auth()
    return client


def receive(topic, preset, count, replay_id=b"", requested=2, on_idle=lambda: None):
    """Subscribes with a client of its own until that many events came."""
    received = Received(count, on_idle)
    client = connect()
    refused(Enough, lambda: client.subscribe(topic, preset, replay_id, requested, received), topic)
    return received


def rest(client, path, body):
    """Writes through REST with the session of the SOAP login."""
    headers = {"Authorization": f"Bearer {client.session_id}"}
    answer = requests.post(f"{client.url}/services/data/v62.0/{path}", json=body, headers=headers, timeout=30)
    answer.raise_for_status()


def change_events(client):
    """Reads change events from the beginning, from a position, and as they come."""
    topic = client.get_topic(CHANGES)
    equal((topic.topic_name, topic.can_publish), (CHANGES, False), "topic of change events")
    first = receive(CHANGES, "EARLIEST", 3)
    equal([one["Name"] for one in first.events], ["One", "Two", "Three"], "names from the beginning")
    header = first.events[0]["ChangeEventHeader"]
    equal((header["entityName"], header["changeType"]), ("Account", "CREATE"), "header")
    equal(first.events[0]["Industry"], None, "a field without a value")
    rest_of = receive(CHANGES, "CUSTOM", 2, first.replay_ids[0])
    equal([one["Name"] for one in rest_of.events], ["Two", "Three"], "names after a position")
    writes = iter([{"Name": "Late", "External_Id__c": "guide-1"}])
    late = receive(CHANGES, "LATEST", 1, on_idle=lambda: [rest(client, "sobjects/Account", one) for one in writes])
    equal(late.events[0]["External_Id__c"], "guide-1", "an event of a running subscription")


def platform_events(client):
    """Publishes events as the guide does, and reads them."""
    topic = client.get_topic(MARKER)
    equal(topic.can_publish, True, "platform events can be published")
    schema = client.get_schema_json(topic.schema_id)
    now = int(time.time() * 1000)
    fields = {"CreatedDate": now, "CreatedById": "005", "At__c": None}
    rows = [client.format_payload(schema, topic.schema_id, {**fields, "Key__c": key}) for key in ("a", "b", "c")]
    answer = client.publish(MARKER, rows)
    equal([bool(result.replay_id) for result in answer.results], [True] * 3, "a position for each event")
    came = receive(MARKER, "EARLIEST", 3, requested=1)
    equal([one["Key__c"] for one in came.events], ["a", "b", "c"], "events in order, one at a time")
    equal(came.replay_ids, [result.replay_id for result in answer.results], "their positions")


def refusals(client):
    """Calls that fail."""
    unknown = refused(grpc.RpcError, lambda: client.get_topic("/data/NopeChangeEvent"), "an unknown topic")
    equal(unknown.code(), grpc.StatusCode.NOT_FOUND, "status of an unknown topic")
    client.metadata = (("accesstoken", "dead"), *client.metadata[1:])
    dead = refused(grpc.RpcError, lambda: client.get_topic(CHANGES), "a dead session")
    equal(dead.code(), grpc.StatusCode.UNAUTHENTICATED, "status of a dead session")
    logging.disable()
    refused(IndexError, lambda: connect("wrong"), "a wrong password, which the class does not expect")


the_client = connect()
holds(the_client.tenant_id.startswith(the_client.session_id.split("!")[0]), "the tenant is the org of the session")
change_events(the_client)
platform_events(the_client)
refusals(the_client)
# Its subscriptions wait in threads that never end.
os._exit(0)
