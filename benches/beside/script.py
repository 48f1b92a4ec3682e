"""The script with a loop: every second it reads the newest page, follows the pages down to a message that it knows, posts
what is new, oldest first, and then writes the id of each posted message to a file.

The environment names the API (API_URL, API_KEY), the receiver (RECEIVER_URL) and the file of the ids (STATE).
"""

import json
import os
import time
import urllib.error
import urllib.request


def get(cursor):
    url = os.environ["API_URL"] + "/v1/messages?limit=10" + (f"&cursor={cursor}" if cursor else "")
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["API_KEY"]})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def post(message):
    body = json.dumps(message).encode()
    headers = {"Content-Type": "application/json", "webhook-id": message["id"]}
    request = urllib.request.Request(os.environ["RECEIVER_URL"], body, headers)
    with urllib.request.urlopen(request, timeout=30):
        pass


def read_ids():
    try:
        with open(os.environ["STATE"]) as file:
            return set(file.read().split())
    except FileNotFoundError:
        return set()


def new_messages(known):
    new, cursor = [], None
    while True:
        page = get(cursor)
        fresh = [message for message in page["data"] if message["id"] not in known]
        new += fresh
        cursor = page["meta"].get("nextCursor")
        if len(fresh) < len(page["data"]) or not cursor:
            return new[::-1]


def main():
    known = read_ids()
    with open(os.environ["STATE"], "a") as file:
        while True:
            try:
                for message in new_messages(known):
                    post(message)
                    known.add(message["id"])
                    file.write(message["id"] + "\n")
                    file.flush()
            except (urllib.error.URLError, OSError) as error:
                print(error, flush=True)
            time.sleep(1)


main()
