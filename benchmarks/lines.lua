-- POST each line of a file once. After `--`: the file. A line is the Authorization header, a tab, the body.
local lines, at, threads = {}, 0, {}
statuses = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   for line in io.lines(args[1]) do
      table.insert(lines, line)
   end
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   at = at + 1
   if at >= #lines then
      wrk.thread:stop()
   end
   local who, body = string.match(lines[math.min(at, #lines)], "^([^\t]*)\t(.*)$")
   if who ~= "" then
      wrk.headers["Authorization"] = who
   end
   return wrk.format(nil, nil, nil, body)
end

function response(status)
   local name = tostring(status)
   statuses[name] = (statuses[name] or 0) + 1
end

function done(summary, latency, requests)
   local e, told = summary.errors, {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("statuses")) do
         table.insert(told, string.format('"%s": %d', status, count))
      end
   end
   io.write(string.format(
      'RESULT {"requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d, "statuses": {%s}}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
      e.connect + e.read + e.write + e.timeout, table.concat(told, ", ")))
end
