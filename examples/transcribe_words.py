"""Every word with its time: python examples/transcribe_words.py talk.mp3"""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")

with open(sys.argv[1], "rb") as file:
    transcription = client.audio.transcriptions.create(
        model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["word"]
    )

for word in transcription.words or []:
    print(f"{word.start:8.2f} {word.end:8.2f}  {word.word}")
