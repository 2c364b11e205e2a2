//! The scripts that the engine runs, each as one step. All keys of a script are in one slot.

/// Writes a value, unless there is one of a later request, and ends the lease of its fetch. Keys: value,
/// lease. Arguments: the value, when its request was sent and when it expires (both in milliseconds), the
/// token of the lease or nothing. Returns 1 if it was written.
pub(super) const WRITE: &str = "\
local at = tonumber(redis.call('GETRANGE', KEYS[1], 16, 31))
local written = 0
if not at or at <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[3])
  written = 1
end
if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) == ARGV[4] then
  redis.call('DEL', KEYS[2])
end
return written";

/// Takes a lease. Key: lease. Arguments: token, milliseconds. Returns 1 if it was taken, 0 if another
/// replica has it, and 2 if the fetch of another replica has ended without an object.
pub(super) const LEASE: &str = "\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
if redis.call('GET', KEYS[1]) == '-' then
  return 2
end
return 0";

/// Ends a lease without an object: replicas that wait go to the store. Key: lease. Arguments: token, for how
/// many milliseconds others go to the store without a lease.
pub(super) const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], '-', 'PX', ARGV[2])
end
return 1";

/// Says that a replica is there. Key: the list of replicas. Arguments: the replica, what it says, the field for
/// when the list began.
pub(super) const SAY: &str = "\
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], ARGV[3], now)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now)
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
