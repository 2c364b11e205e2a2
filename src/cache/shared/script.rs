//! The scripts that the engine runs, each as one step. All keys of a script are in one slot.

/// Writes a value, unless there is one of a later request, and ends the lease of its fetch. Keys: value,
/// lease. Arguments: the value, when its request was sent and when it expires (both in milliseconds), the
/// token of the lease or nothing, the channel for who waits for the lease. Returns 1 if it was written.
pub(super) const WRITE: &str = "\
local at = tonumber(redis.call('GETRANGE', KEYS[1], 16, 31))
local written = 0
if not at or at <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[3])
  written = 1
end
local lease = redis.call('GET', KEYS[2])
if lease then
  local waited = string.sub(lease, -1) == '+'
  if ARGV[4] ~= '' and (lease == ARGV[4] or lease == ARGV[4] .. '+') then
    redis.call('DEL', KEYS[2])
  end
  if waited then
    redis.pcall('PUBLISH', ARGV[5], KEYS[2])
  end
end
return written";

/// Takes a lease, or notes that somebody waits for its end: a plus sign after the token. Key: lease.
/// Arguments: token, milliseconds. Returns 1 if it was taken, 2 if the fetch of another replica has ended without an
/// object, and otherwise, not above 0, minus the milliseconds that it is still another's.
pub(super) const LEASE: &str = "\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
local lease = redis.call('GET', KEYS[1])
if lease == '-' then
  return 2
end
if string.sub(lease, -1) ~= '+' then
  redis.call('APPEND', KEYS[1], '+')
end
return -math.max(redis.call('PTTL', KEYS[1]), 0)";

/// Ends a lease without an object: replicas that wait go to the store. Key: lease. Arguments: token, for how
/// many milliseconds others go to the store without a lease, the channel for who waits for it.
pub(super) const RELEASE: &str = "\
local lease = redis.call('GET', KEYS[1])
if lease == ARGV[1] or lease == ARGV[1] .. '+' then
  redis.call('SET', KEYS[1], '-', 'PX', ARGV[2])
  if lease ~= ARGV[1] then
    redis.pcall('PUBLISH', ARGV[3], KEYS[1])
  end
end
return 1";

/// Publishes a message. A user without this right is no fault: who waits for messages looks for itself as well.
/// Keys: one in a slot of the server to ask. Arguments: channel, message. Returns 1 if it may publish.
pub(super) const PUBLISH: &str = "\
if type(redis.pcall('PUBLISH', ARGV[1], ARGV[2])) == 'table' then
  return 0
end
return 1";

/// Says that a replica is there, to the others and, in a channel of its own, to itself. Key: the list of replicas.
/// Arguments: the replica, what it says, the field for when the list began, its channel.
pub(super) const SAY: &str = "\
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], ARGV[3], now)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now)
redis.pcall('PUBLISH', ARGV[4], now)
return 1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::shared::value::{DIGITS, REQUESTED_AT};

    #[test]
    fn the_script_reads_the_time_where_a_value_has_it() {
        let place = format!("KEYS[1], {REQUESTED_AT}, {})", REQUESTED_AT + DIGITS - 1);
        assert!(WRITE.contains(&place), "{place}");
    }
}
