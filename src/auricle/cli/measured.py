"""The speed of the default model on this machine, as it was measured before."""

from auricle.config import Settings
from auricle.engines.calibrate import Table, load_table
from auricle.pipeline.library import Library, ModelFolder, Origin
from auricle.runtime import default_model_name, engine_config


def find_default_model(settings: Settings) -> ModelFolder | None:
    """The folder of the default model, where it is on disk. Raises ModelNotFound for a name that means none."""
    library = Library(data_dir=settings.data_dir, offline=settings.offline)
    return library.find(default_model_name(settings), Origin.SETTINGS)


def measured_table(settings: Settings, folder: ModelFolder | None) -> Table | None:
    """What was measured for the model, with these settings."""
    return load_table(engine_config(settings, folder), settings.data_dir) if folder else None
