"""Who said what: python examples/who_spoke.py call.wav [Ann=ann.wav …]"""

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none")
known = dict(one.split("=", 1) for one in sys.argv[2:])
samples = [base64.b64encode(Path(path).read_bytes()).decode() for path in known.values()]

with open(sys.argv[1], "rb") as file:
    transcription = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=file,
        response_format="diarized_json",
        chunking_strategy="auto",
        known_speaker_names=list(known),
        known_speaker_references=[f"data:audio/wav;base64,{sample}" for sample in samples],
    )

for segment in transcription.segments:
    print(f"{segment.start:8.2f} {segment.end:8.2f}  {segment.speaker}: {segment.text.strip()}")
