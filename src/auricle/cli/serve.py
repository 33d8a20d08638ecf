"""``auricle serve``: run the server."""

from auricle.cli.settings_flags import takes_settings
from auricle.config import Settings
from auricle.logs import set_up_logging


@takes_settings(*Settings.model_fields)
def serve(settings: Settings) -> None:
    """Run the server until Ctrl-C or SIGTERM; it speaks OpenAI's audio API below /v1.

    \b
    auricle serve --model small --port 8000
    auricle serve --model large-v3-turbo --device cuda
    auricle serve --host 0.0.0.0    # needs a key: auricle keys create NAME
    curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@talk.mp3

    A flag wins over its environment variable.
    """
    set_up_logging(settings.log_level, settings.log_format)
    from auricle.server import app

    app.serve(settings)
