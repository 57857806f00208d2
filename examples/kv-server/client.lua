-- Requests to servers, with a time limit. Any number of coroutines may use any number of clients at the same time.

local time = require("time")

-- One process, one channel of replies, whichever client and coroutine they are for.
local waiting = {} -- by ref: the channel of the coroutine that waits
local next_ref = 1
local is_listening = false

local function hand_out(replies)
    while true do
        local reply = replies:receive()
        local waiter = waiting[reply.ref]
        if waiter then -- nobody waits for an answer that comes too late
            waiter:send(reply)
        end
    end
end

local Client = {}
Client.__index = Client

--- @param server the PID or name of the server
--- @param timeout how long a request may take, e.g. "1s"
local function connect(server, timeout)
    if not is_listening then
        is_listening = true
        local replies = process.listen("kv.reply")
        coroutine.spawn(function()
            hand_out(replies)
        end)
    end
    return setmetatable({ server = server, timeout = timeout }, Client)
end

--- @return the value, or nil and an error: the server's own, Timeout, or NotFound when there is no server
function Client:request(op, key, value)
    local ref = next_ref
    next_ref = ref + 1
    local answered = channel.new(1)
    waiting[ref] = answered -- before sending: the answer may be here before send returns
    local sent, err = process.send(self.server, "kv", { ref = ref, op = op, key = key, value = value })
    if not sent then
        waiting[ref] = nil
        return nil, err
    end

    local limit = time.timer(self.timeout)
    local got = channel.select({ answered:case_receive(), limit:channel():case_receive() })
    limit:stop()
    waiting[ref] = nil

    if got.channel ~= answered then
        local text = op .. " " .. key .. ": no answer within " .. self.timeout
        return nil, errors.new({ message = text, kind = errors.TIMEOUT, retryable = true })
    end
    return got.value.value, got.value.error
end

return { connect = connect }
