-- Has wrk end with one line of JSON: counts, and latencies in microseconds.
function count_wrong()
  return 0 -- a script that looks at the answers says how many are wrong
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"broken":%d,"not_2xx":%d,"wrong":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status, count_wrong()))
end
