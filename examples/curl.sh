#!/bin/sh
# The API with curl: sh examples/curl.sh talk.mp3
set -eu
url="${OPENAI_BASE_URL:-http://127.0.0.1:8000/v1}"

# JSON
curl --fail-with-body --silent --show-error "$url/audio/transcriptions" -F model=whisper-1 -F "file=@$1"
echo

# Subtitles with short lines
curl --fail-with-body --silent --show-error "$url/audio/transcriptions" -F model=whisper-1 -F "file=@$1" \
  -F response_format=srt -F max_line_width=42 -F max_lines=2

# English text of speech in another language
curl --fail-with-body --silent --show-error "$url/audio/translations" -F model=whisper-1 -F "file=@$1" \
  -F response_format=text

# Text while it is made
curl --fail-with-body --silent --show-error --no-buffer "$url/audio/transcriptions" -F model=whisper-1 -F "file=@$1" \
  -F stream=true
