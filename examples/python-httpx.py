"""Python with httpx, resumed by hand at the exact byte: all that it takes is to count.

    npm start                                                in one terminal; in another:
    pip install httpx    (or: apt install python3-httpx)
    python3 examples/python-httpx.py "Tell me about the sea"
"""

import json
import os
import sys
import time
import uuid

import httpx

url = os.environ.get("HOLDFAST_URL", "http://127.0.0.1:8787")
key = os.environ.get("HOLDFAST_KEY") or open(".holdfast/api-key").read().strip()
prompt = sys.argv[1] if len(sys.argv) > 1 else "Tell me about the sea"
conversation = sys.argv[2] if len(sys.argv) > 2 else str(uuid.uuid4())

body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 200, "stream": True}
asking = {"X-Conversation-Id": conversation, "Idempotency-Key": str(uuid.uuid4())}


def answer():
    """The answer's bytes, each once, over as many connections as it takes. The gateway pings every 2 s."""
    received, session = 0, None
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=httpx.Timeout(12, read=12)) as client:
        while True:
            try:
                if session is None:
                    # Sent again after a cut, it joins the answer that the first one started.
                    request = client.stream("POST", f"{url}/v1/chat/completions", json=body, headers=asking, timeout=60)
                else:
                    place = {"conv_id": conversation, "from": received, "session": session}
                    request = client.stream("GET", f"{url}/v1/stream", params=place)
                with request as response:
                    response.raise_for_status()
                    session = response.headers["Holdfast-Session"]
                    for chunk in response.iter_raw():
                        received += len(chunk)
                        yield chunk
            except httpx.TransportError:
                time.sleep(0.1)


def events(chunks):
    """The JSON of each event. Returns at the last event: a connection that ends, even cleanly, is no end."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for event in whole:
            if event == b"data: [DONE]":
                return
            if event.startswith(b"data: "):
                yield json.loads(event[6:])


for event in events(answer()):
    if "error" in event:
        sys.exit(event["error"]["message"])
    for choice in event["choices"]:
        print(choice["delta"].get("content") or "", end="", flush=True)
print()
