-- Holds values by key. A request is a message of topic "kv" with { ref, op, key, value }; the answer goes to its sender as topic
-- "kv.reply" with { ref, value } or { ref, error }. `ref` is the client's number of the request: it tells which answer is whose.

local time = require("time")

local values = {}

local operations = {
    get = function(request)
        if values[request.key] == nil then
            return nil, errors.new({ message = "no such key: " .. request.key, kind = errors.NOT_FOUND, retryable = false })
        end
        return values[request.key]
    end,
    put = function(request)
        local before = values[request.key]
        values[request.key] = request.value
        return before
    end,
    delete = function(request)
        local before = values[request.key]
        values[request.key] = nil
        return before
    end,
    -- Stands for an operation that takes long.
    slow_get = function(request)
        time.sleep("300ms")
        return values[request.key]
    end,
}

local function answer(message)
    local request = message:payload():data()
    local reply = { ref = request.ref }
    local operation = operations[request.op]
    if operation then
        reply.value, reply.error = operation(request)
    else
        reply.error = errors.new({ message = "unknown operation: " .. tostring(request.op), kind = errors.INVALID })
    end
    -- A client that has ended meanwhile is no concern of the server: the failed send is ignored.
    process.send(message:from(), "kv.reply", reply)
end

local function main(name)
    local requests = process.listen("kv", { message = true }) -- whole messages, to know the sender
    local events = process.events()
    assert(process.registry.register(name))
    while true do
        local got = channel.select({ events:case_receive(), requests:case_receive() })
        if got.channel == events then
            return -- CANCEL: asked to stop
        end
        -- In a coroutine of its own, so that a slow request holds up nobody. Only calls that wait let another coroutine run:
        -- get, put and delete are atomic without any lock.
        coroutine.spawn(function()
            answer(got.value)
        end)
    end
end

return { main = main }
