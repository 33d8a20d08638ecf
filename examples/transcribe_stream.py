"""Text while it is made, part by part: python examples/transcribe_stream.py talk.mp3"""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")

with open(sys.argv[1], "rb") as file:
    for event in client.audio.transcriptions.create(model="whisper-1", file=file, stream=True):
        if event.type == "transcript.text.delta":
            print(event.delta, end="", flush=True)
print()
