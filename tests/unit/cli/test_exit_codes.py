from auricle import errors
from auricle.cli.exit_codes import EXIT_CODES, MEANINGS, describe_exit_codes, exit_code


def all_errors(kind: type[errors.AuricleError] = errors.AuricleError) -> list[type[errors.AuricleError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_errors(child))]


EXPECTED = {
    "AuricleError": 1,
    "InputError": 3,
    "UnsupportedAudio": 3,
    "CorruptAudio": 3,
    "EmptyAudio": 3,
    "InvalidOption": 2,
    "IdempotencyConflict": 2,
    "UnsupportedOption": 2,
    "AudioTooLarge": 3,
    "AudioTooLong": 3,
    "ForbiddenUrl": 3,
    "UrlUnreachable": 3,
    "UrlRefused": 3,
    "Forbidden": 8,
    "InvalidKey": 8,
    "NotFound": 4,
    "ModelNotFound": 4,
    "JobNotFound": 4,
    "Busy": 5,
    "QueueFull": 5,
    "RateLimited": 5,
    "MemoryPressure": 5,
    "DeadlineExceeded": 5,
    "ModelLoading": 5,
    "ModelInUse": 5,
    "EngineError": 6,
    "EngineNotInstalled": 6,
    "EngineFailed": 6,
    "EngineOutOfMemory": 6,
    "JobError": 7,
    "JobNotFinished": 7,
    "JobCancelled": 7,
    "JobKilledEngine": 7,
}


def test_every_error_class_has_its_exit_code():
    own = [kind for kind in all_errors() if kind.__module__ == errors.__name__]
    assert {kind.__name__: exit_code(kind("x")) for kind in own} == EXPECTED


def test_every_family_is_told_apart_from_a_defect():
    for family in errors.AuricleError.__subclasses__():
        assert EXIT_CODES[family] != EXIT_CODES[errors.AuricleError]


def test_every_exit_code_has_a_meaning_in_the_help():
    assert set(EXIT_CODES.values()) <= set(MEANINGS)
    for code, meaning in MEANINGS.items():
        assert f"{code:>3}  {meaning}" in describe_exit_codes().splitlines()
