"""Text of a file, as JSON: python examples/transcribe_file.py talk.mp3

The server's address is taken from OPENAI_BASE_URL, or is http://127.0.0.1:8000/v1.
"""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")

with open(sys.argv[1], "rb") as file:
    transcription = client.audio.transcriptions.create(model="whisper-1", file=file)

print(transcription.to_json())
