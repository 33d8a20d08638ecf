"""Turns on a shared device, with the clock in the test's hands."""

import asyncio

from auricle.batching.device import AGEING_S, Device, Seat


class User:
    """Wants ``turns`` turns of the device and notes each in ``log``."""

    def __init__(self, device: Device, log: list[str], name: str, *, rank: float = 0.0, urgency: int = 1) -> None:
        self.log, self.name, self.urgency_now, self.turns = log, name, urgency, 0
        self.seat: Seat = device.join(
            rank=rank, urgency=lambda: self.urgency_now if self.turns else None, start=self.go
        )

    def want(self, turns: int) -> None:
        self.turns = turns
        self.seat.ask()

    def go(self) -> None:
        self.turns -= 1
        self.log.append(self.name)

    def end(self) -> None:
        self.seat.end()
        if self.turns:
            self.seat.ask()


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.device = Device(lambda: self.now)
        self.log: list[str] = []
        self.users: dict[str, User] = {}

    def user(self, name: str, **how: float) -> User:
        self.users[name] = User(self.device, self.log, name, **how)  # pyright: ignore[reportArgumentType]
        return self.users[name]

    async def run(self, turns: int, *, turn_s: float = 1.0) -> list[str]:
        for _ in range(turns):
            seen = len(self.log)
            await settle()
            if len(self.log) == seen:
                break
            self.now += turn_s
            self.users[self.log[-1]].end()
        return self.log


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_works_at_a_time() -> None:
    bench = Bench()
    first, second = bench.user("a"), bench.user("b")
    first.want(2)
    second.want(1)
    await settle()
    assert len(bench.log) == 1
    await settle()
    assert len(bench.log) == 1, "nobody starts before the turn has ended"
    bench.users[bench.log[0]].end()
    assert sorted(await bench.run(2)) == ["a", "a", "b"]


async def test_the_more_urgent_class_goes_first_and_then_the_lower_rank() -> None:
    bench = Bench()
    for name, rank, urgency in [("large", 5, 1), ("small", 1, 1), ("batch", 0, 2), ("urgent", 9, 0)]:
        bench.user(name, rank=rank, urgency=urgency).want(1)
    assert await bench.run(4) == ["urgent", "small", "large", "batch"]


async def test_a_large_model_gets_its_turn_beside_a_small_one_that_always_wants_one() -> None:
    bench = Bench()
    bench.user("small", rank=0).want(1000)
    bench.user("large", rank=5).want(1)
    log = await bench.run(100)
    assert log.index("large") <= 5 * AGEING_S + 1


async def test_models_of_one_rank_take_turns() -> None:
    bench = Bench()
    for name in "ab":
        bench.user(name).want(4)
    log = await bench.run(8)
    assert {tuple(sorted(log[index : index + 2])) for index in range(0, 8, 2)} == {("a", "b")}


async def test_who_wants_nothing_any_more_is_passed_over() -> None:
    bench = Bench()
    gone, stays = bench.user("gone"), bench.user("stays", rank=1)
    gone.want(1)
    stays.want(1)
    gone.turns = 0
    assert await bench.run(2) == ["stays"]


async def test_who_leaves_in_its_turn_lets_the_next_one_work() -> None:
    bench = Bench()
    first, second = bench.user("a"), bench.user("b", rank=1)
    first.want(3)
    second.want(1)
    await settle()
    first.seat.leave()
    await settle()
    assert bench.log == ["a", "b"]


async def test_an_idle_device_starts_at_once_and_asking_twice_is_asking_once() -> None:
    bench = Bench()
    user = bench.user("a")
    user.want(1)
    user.want(1)
    assert not bench.log
    await settle()
    assert bench.log == ["a"]
    assert not bench.device.is_wanted
