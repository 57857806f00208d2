-- Adds to a counter that the adders of all nodes share, as fast as it can, and says what it has done.
local store = require("store")
local system = require("system")
local time = require("time")

local ADDITIONS = 50
local COUNTER, FINISHED = "counter:total", "counter:finished:"

-- Adds one, and counts how often somebody else was faster.
local function add_one(counters)
    local conflicts = 0
    while true do
        local entry, err = counters:entry(COUNTER)
        if err and err:kind() ~= errors.NOT_FOUND then return nil, err end
        local condition = entry and { if_version = entry.version } or { only_if_absent = true }
        local written, refused = counters:put(COUNTER, (entry and entry.value or 0) + 1, condition)
        if written then return conflicts end
        local kind = refused:kind()
        if kind ~= errors.CONFLICT and kind ~= errors.ALREADY_EXISTS then return nil, refused end
        conflicts = conflicts + 1
    end
end

-- Until there is a leader nobody can say what is there: then a call fails after ten seconds, and is made again.
local function insistently(call)
    while true do
        local result, err = call()
        if not err then return result end
        if err:kind() ~= errors.UNAVAILABLE then error(err) end
        print("waiting: " .. err:message())
        time.sleep("1s")
    end
end

local function main()
    local counters = assert(store.get("counter:store"))
    local node = system.node.id()
    -- A node that comes back has finished already.
    local done = insistently(function() return counters:has(FINISHED .. node) end)
    if not done then
        local conflicts = 0
        for _ = 1, ADDITIONS do
            conflicts = conflicts + insistently(function() return add_one(counters) end)
        end
        print("added " .. ADDITIONS .. " on " .. node .. ", lost " .. conflicts .. " races")
    end
    -- Begin to watch, then look: what happens in between is seen.
    local watch = insistently(function() return counters:watch(FINISHED) end)
    if not done then insistently(function() return counters:set(FINISHED .. node, true) end) end
    local ends = process.events()
    while true do
        local page = insistently(function() return counters:list({ prefix = FINISHED }) end)
        if #page.items >= 3 then
            print("all have finished: " .. tostring(counters:get(COUNTER)))
            return
        end
        local got = channel.select({ ends:case_receive(), watch:channel():case_receive() })
        if got.channel == ends then return end
    end
end

return { main = main }
