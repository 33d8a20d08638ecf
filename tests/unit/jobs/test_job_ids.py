"""Names of jobs."""

from uuid import UUID

from auricle.jobs.ids import new_id


def test_ids_are_uuids_of_version_7_in_the_order_in_which_they_were_made() -> None:
    ids = [new_id() for _ in range(200)]
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 200
    milliseconds = [UUID(one).int >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
    assert ids[0] < ids[-1]
