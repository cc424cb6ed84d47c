"""What somebody took out of a due queue and will not bring back, as when its runner died: shown to the others again.

Whoever takes an id hides it for longer than a decision takes. Nothing here knows who took which: all that is due and
hidden in these queues is shown, and a runner that is still at one of them loses nothing, since PostgreSQL decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from reconciler.scheduler.entries import milliseconds
from reconciler.scheduler.redis_link import RedisServiceManager

# Put back to `now` what is due and hidden until `held` at the latest.
#   KEYS   the due queues
#   ARGV   prefix, now, held
#   returns how many were hidden
SHOW: Final = """
local prefix, now, shown = ARGV[1], tonumber(ARGV[2]), 0
for i = 1, #KEYS do
  local ids = redis.pcall('ZRANGEBYSCORE', KEYS[i], '(' .. ARGV[2], ARGV[3])
  for _, id in ipairs(ids) do
    local status = redis.pcall('HMGET', prefix .. 'schedule:status:' .. id, 'state', 'next_run')
    if status[1] == 'active' and tonumber(status[2]) and tonumber(status[2]) <= now then
      redis.call('ZADD', KEYS[i], ARGV[2], id)
      shown = shown + 1
    end
  end
end
return shown
"""


class Hidden:
    """Asks Redis; StoreUnavailable when it is away."""

    def __init__(self, redis: RedisServiceManager) -> None:
        self._redis = redis
        self._show = redis.client.register_script(SHOW)

    async def show(self, queues: Sequence[str], now: datetime, hold: timedelta) -> int:
        """Let every runner see what is due in these queues, hidden for `hold` at most; how many were."""
        keys = [f"{self._redis.prefix}schedule:due:{queue}" for queue in queues]
        arguments = [self._redis.prefix, milliseconds(now), milliseconds(now + hold)]
        with self._redis.answering():
            return int(await self._show(keys=keys, args=arguments)) if keys else 0
