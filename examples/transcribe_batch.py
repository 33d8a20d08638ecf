"""Many files at once; the server decodes them in common batches: python examples/transcribe_batch.py *.mp3"""

import asyncio
import os
import sys
from pathlib import Path

from openai import AsyncOpenAI


async def main(paths: list[Path]) -> None:
    """Ask for all texts at the same time and print them in order."""
    async with AsyncOpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"), api_key="none"
    ) as client:
        calls = [client.audio.transcriptions.create(model="whisper-1", file=path) for path in paths]
        for path, transcription in zip(paths, await asyncio.gather(*calls), strict=True):
            print(f"{path.name}: {transcription.text}")


asyncio.run(main([Path(argument) for argument in sys.argv[1:]]))
