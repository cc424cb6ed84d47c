"""What holds for every schedule; and agreement with cronsim in UTC, and with the rule spelled out minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.schedule import Dst, InvalidSchedule, Schedule

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia",
    "Africa/Casablanca", "Asia/Kathmandu", "Europe/Dublin", "Pacific/Chatham", "America/St_Johns", "Antarctica/Casey",
)  # fmt: skip
# Of no effect, but it makes a schedule that shares no runs with the one it is compared to.
NEVER = frozenset({date(1900, 1, 1)})
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
# The same examples each time: a test that fails now and then tells nobody which change broke it.
LOOKED_AT = settings(max_examples=40, deadline=None, derandomize=True)


def part(low: int, high: int) -> st.SearchStrategy[str]:
    """One cron field of plain syntax."""
    number = st.integers(low, high).map(str)
    # Two ends that differ: cronsim takes `5-5/2` for `5-59/2`.
    ends = st.sets(st.integers(low, high), min_size=2, max_size=2).map(sorted)
    span = ends.map(lambda both: f"{both[0]}-{both[1]}")
    step = st.integers(1, high)
    stepped = st.builds("{}/{}".format, st.one_of(st.just("*"), span), step)
    listed = st.lists(st.one_of(number, span, stepped), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), number, listed)


DAY = st.one_of(part(1, 31), st.just("L"))
WEEKDAY = st.one_of(
    part(0, 6), st.builds("{}#{}".format, st.integers(0, 6), st.integers(1, 5)), st.sampled_from(["mon", "fri"])
)
EXPRESSION = st.builds("{} {} {} {} {}".format, part(0, 59), part(0, 23), DAY, part(1, 12), WEEKDAY)
SIMPLE = st.builds("{} {} * * {}".format, part(0, 59), part(0, 23), st.sampled_from(["*", "*", "1-5", "0"]))
DSTS = st.builds(
    Dst, st.sampled_from(["default", "after", "skip"]), st.sampled_from(["default", "first", "second", "both"])
)
# Around clock changes as likely as anywhere.
CHANGES = st.sampled_from(
    [
        "2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-10-04", "2026-04-05", "2018-11-04", "2018-02-18",
        "2011-12-30", "2026-02-15", "2026-03-22", "1986-01-01", "2020-10-04",
    ]
)  # fmt: skip
NEAR = st.timedeltas(timedelta(days=-2), timedelta(days=2))
MOMENT = st.one_of(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.builds(lambda day, off: datetime.fromisoformat(day) + off, CHANGES, NEAR),
).map(lambda moment: moment.replace(tzinfo=UTC))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    expressions = draw(
        st.lists(st.one_of(EXPRESSION, SIMPLE, st.sampled_from(["@every 7m", "@every 90m"])), min_size=1, max_size=2)
    )
    skipped = draw(st.frozensets(CHANGES.map(date.fromisoformat), max_size=2))
    try:
        return Schedule(expressions, draw(st.sampled_from(ZONES)), dst=draw(DSTS), skip_on=skipped)
    except InvalidSchedule as error:
        assume("never comes" not in str(error))
        raise


@LOOKED_AT
@given(schedules(), MOMENT)
def test_the_next_instant_is_later_than_asked(schedule: Schedule, moment: datetime) -> None:
    found = schedule.next_after(moment)
    assert found is not None
    assert found > moment
    assert found.microsecond == 0


@LOOKED_AT
@given(schedules(), MOMENT, st.floats(0, 1, exclude_max=True))
def test_every_moment_up_to_the_next_instant_has_the_same_answer(
    schedule: Schedule, moment: datetime, share: float
) -> None:
    found = schedule.next_after(moment)
    assert found is not None
    assert schedule.next_after(moment + (found - moment) * share) in (found, schedule.next_after(found))
    assert schedule.next_after(found - timedelta(microseconds=1)) == found
    assert schedule.next_after(max(moment, found - SECOND)) == found


@LOOKED_AT
@given(schedules(), MOMENT, st.timedeltas(timedelta(0), timedelta(hours=12)))
def test_where_one_begins_to_walk_makes_no_difference(schedule: Schedule, moment: datetime, length: timedelta) -> None:
    *passed, last = islice(schedule.upcoming(moment - length), 800)
    assume(last > moment)
    expected = [found for found in (*passed, last) if found > moment]
    assert list(islice(schedule.upcoming(moment), len(expected))) == expected
    fresh = Schedule(schedule.expressions, schedule.timezone, dst=schedule.dst, skip_on=schedule.skip_on | NEVER)
    assert list(islice(fresh.upcoming(moment), len(expected))) == expected


@LOOKED_AT
@given(schedules(), MOMENT)
def test_looking_back_and_counting_agree_with_walking(schedule: Schedule, moment: datetime) -> None:
    walked = list(islice(schedule.upcoming(moment), 40))
    assert all(earlier < later for earlier, later in pairwise(walked))
    for place, found in enumerate(walked):
        assert schedule.last_until(found, moment) == found
        assert schedule.last_until(found - SECOND, moment) == (walked[place - 1] if place else None)
        assert schedule.count(moment, found) == place + 1
    assert schedule.last_until(walked[-1], walked[-1]) is None
    assert schedule.count(walked[-1], walked[0]) == 0
    assert schedule.count(moment, walked[-1], limit=39) is None
    assert schedule.count(moment, walked[-1], limit=40) == 40


@LOOKED_AT
@given(EXPRESSION, MOMENT)
def test_in_utc_cronsim_says_the_same(expression: str, moment: datetime) -> None:
    try:
        schedule = Schedule([expression])
    except InvalidSchedule as error:
        assert "never comes" in str(error)
        return
    # Cronsim gives up after fifty years.
    assume(schedule.next_after(moment) - moment < timedelta(days=40 * 365))  # type: ignore[operator]
    ours = list(islice(schedule.upcoming(moment), 20))
    theirs = list(islice(CronSim(expression, moment), 20))
    assert ours[: len(theirs)] == theirs


def spelled_out(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """The rule for clock changes read aloud: every minute of the wall clock is looked at by itself."""
    (cron,) = schedule.crons
    zone = ZoneInfo(schedule.timezone)
    found = set()
    local = start.replace(tzinfo=None) - timedelta(days=2)
    while local < end.replace(tzinfo=None) + timedelta(days=2):
        if local.hour in cron.hours and local.minute in cron.minutes and local.isoweekday() % 7 in cron.days.weekdays:
            found |= instants_of(local, zone, schedule.dst, is_wildcard=cron.is_wildcard)
        local += MINUTE
    return sorted(moment for moment in found if start < moment <= end)


def instants_of(local: datetime, zone: ZoneInfo, dst: Dst, *, is_wildcard: bool) -> set[datetime]:
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return {first}
    is_lenient = is_wildcard or abs(second - first) > timedelta(hours=3)
    if first > second:
        gap = dst.gap if dst.gap != "default" else "skip" if is_lenient else "after"
        return {clock_jumps(second, first, local, zone)} if gap == "after" else set()
    fold = dst.fold if dst.fold != "default" else "both" if is_lenient else "first"
    return {"first": {first}, "second": {second}, "both": {first, second}}[fold]


def clock_jumps(low: datetime, high: datetime, local: datetime, zone: ZoneInfo) -> datetime:
    """The first minute at which the wall clock shows more than `local`."""
    moment = low
    while moment.astimezone(zone).replace(tzinfo=None) <= local:
        moment += MINUTE
    assert moment <= high
    return moment


@LOOKED_AT
@given(SIMPLE, st.sampled_from(ZONES), DSTS, CHANGES)
def test_clock_changes_are_as_the_rule_says_minute_by_minute(expression: str, zone: str, dst: Dst, day: str) -> None:
    schedule = Schedule([expression], zone, dst=dst)
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    end = start + timedelta(days=3)
    expected = spelled_out(schedule, start, end)
    found = []
    for moment in schedule.upcoming(start):
        if moment > end:
            break
        found.append(moment)
    assert found == expected
