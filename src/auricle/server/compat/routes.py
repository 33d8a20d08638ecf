"""The routers of all other APIs."""

from auricle.server.compat import (
    asr_webservice,
    insanely_fast_whisper,
    whisper_api_mvp,
    whisper_api_server,
    whisper_cpp,
    whisper_server,
)

COMPAT_ROUTERS = (
    whisper_api_server.json_router,
    whisper_api_server.router,
    whisper_api_server.debug_router,
    whisper_server.router,
    whisper_server.models_router,
    whisper_api_mvp.router,
    insanely_fast_whisper.router,
    insanely_fast_whisper.tasks_router,
    asr_webservice.router,
    whisper_cpp.router,
)
"""To be included before all others: one of them takes JSON where OpenAI's API takes forms."""
