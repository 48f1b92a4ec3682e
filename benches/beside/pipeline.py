"""A pipeline of dlt that reads the messages and posts each of them, run again and again.

The incremental cursor is receivedAt. It has no lag: with a lag dlt hands on every message of that time once more in each
run. The environment names the API (API_URL, API_KEY), the receiver (RECEIVER_URL) and dlt's directory (STATE).
"""

import json
import os
import time
import urllib.request

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

client = RESTClient(
    os.environ["API_URL"],
    auth=BearerTokenAuth(os.environ["API_KEY"]),
    paginator=JSONResponseCursorPaginator(cursor_path="meta.nextCursor", cursor_param="cursor"),
    data_selector="data",
)


@dlt.resource(primary_key="id", max_table_nesting=0)
def messages(
    received=dlt.sources.incremental("receivedAt", initial_value="2000-01-01T00:00:00.000Z", row_order="desc"),
):
    yield from client.paginate("/v1/messages", params={"limit": 10})


@dlt.destination(batch_size=1, naming_convention="direct", skip_dlt_columns_and_tables=True, max_table_nesting=0)
def receiver(items, table):
    for message in items if isinstance(items, list) else [items]:
        headers = {"Content-Type": "application/json", "webhook-id": message["id"]}
        body = json.dumps(message, default=str).encode()
        request = urllib.request.Request(os.environ["RECEIVER_URL"], body, headers)
        with urllib.request.urlopen(request, timeout=30):
            pass


pipeline = dlt.pipeline("joltsms", destination=receiver, pipelines_dir=os.environ["STATE"])
while True:
    try:
        pipeline.run(messages())
    except Exception as error:  # The next run goes on with what this run left.
        print(type(error).__name__, str(error)[:200], flush=True)
    time.sleep(float(os.environ.get("PAUSE", "1")))
