local queue = require("queue")
local time = require("time")

local tried = {}
local kept

local function handle(body)
    local message = assert(queue.message())
    local id = message:id()
    tried[id] = (tried[id] or 0) + 1
    local report = {
        body = body,
        id = id,
        tried = tried[id],
        header = message:header("priority"),
        headers = message:headers(),
        text = tostring(message),
    }
    if body.what == "twice" and not body.seen and message:header("round") == nil then
        process.send(body.to, "handled", report)
        if tried[id] == 1 then return false end
        return true
    end
    if body.what == "settle" then
        local ok, err = message:ack()
        report.acked = ok
        local _, again = message:nack()
        report.again = again
    end
    if body.what == "keep" then kept = message end
    if body.what == "use kept" then
        local _, err = kept:id()
        report.kept = err
    end
    if body.what == "crash" and tried[id] == 1 then
        process.send(body.to, "handled", report)
        error("boom")
    end
    if body.what == "slow" then time.sleep("30ms") end
    process.send(body.to, "handled", report)
end

return { handle = handle }
