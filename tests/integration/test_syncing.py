"""The two channels on which a source is asked for and answered about."""

from __future__ import annotations

import asyncio

from reconciler.scheduler import SchedulerService
from reconciler.scheduler.syncing import LONGEST, Answer, Wish


async def test_a_wish_is_heard_by_all_who_listen_and_says_who_waits(scheduler: SchedulerService) -> None:
    assert await scheduler.syncing.ask("default") == 0
    listeners = [scheduler.syncing.wishes() for _ in range(2)]
    async with asyncio.timeout(30):
        assert [await anext(one) for one in listeners] == [None, None]
        for source, token in (("team-a", "t1"), ("team-a", ""), ("", "t2"), ("", "")):
            assert await scheduler.syncing.ask(source, token) == 2
            assert [await anext(one) for one in listeners] == [Wish(source, token)] * 2


async def test_an_answer_comes_as_it_was_given_and_what_is_none_is_nothing(
    scheduler: SchedulerService, redis_prefix: str
) -> None:
    answers = scheduler.syncing.answers()
    given = Answer("team-a", ("t1", "t2"), 3, "rewind refused: x\nand more", "a1b2c3d")
    async with asyncio.timeout(30):
        assert await anext(answers) is None
        await scheduler.syncing.answer(given)
        assert await anext(answers) == given
        for text in ("", "[1]", '{"source": "a"}', "not json"):
            await scheduler._redis.client.publish(f"{redis_prefix}sync:done", text)
            assert await anext(answers) is None
        await scheduler.syncing.answer(Answer("team-a", (), 1, "x" * 100_000))
        last = await anext(answers)
    assert last is not None
    assert len(last.said) == LONGEST
