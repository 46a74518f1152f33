-- GET the same thing again and again. After `--`: headers as name=value.
function init(args)
   for i = 1, #args do
      local name, value = string.match(args[i], "^([^=]+)=(.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d, "statuses": {}}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
      e.connect + e.read + e.write + e.timeout))
end
