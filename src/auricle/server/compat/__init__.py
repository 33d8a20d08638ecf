"""The routes of other transcription servers, one file each, so that their clients change nothing but the address."""
