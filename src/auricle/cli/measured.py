"""The default model: the speed that was measured for it before, and the engine that it has by that."""

from auricle.config import Settings
from auricle.engines.choice import Choice, choose, look_around
from auricle.engines.speed import Table, load_table
from auricle.pipeline.library import Library, ModelFolder, Origin
from auricle.runtime import default_model_name, engine_config


def find_default_model(settings: Settings) -> ModelFolder | None:
    """The folder of the default model, where it is on disk. Raises ModelNotFound for a name that means none."""
    library = Library(data_dir=settings.data_dir, offline=settings.offline)
    return library.find(default_model_name(settings), Origin.SETTINGS)


def measured_table(settings: Settings, folder: ModelFolder | None) -> Table | None:
    """What was measured for the model, with these settings."""
    if folder is None:
        return None
    return load_table(engine_config(settings, folder), settings.beam_size, settings.data_dir)


def chosen_engine(settings: Settings, folder: ModelFolder | None) -> Choice:
    """The engine for the model, or for any where it is not on disk; errors as of ``engines.choice.choose``."""
    asked = engine_config(settings, folder or ModelFolder(name=default_model_name(settings), path=settings.data_dir))
    return choose(asked, measured_table(settings, folder), look_around(folder.path if folder else None))
