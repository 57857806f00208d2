-- Logs its node's user in, sees who is there on all nodes, and logs out at the end.
local store = require("store")
local system = require("system")
local time = require("time")

-- Seconds. A session that is not touched for so long is over, whoever began it.
local IDLE = 3

-- All sessions, a page at a time, as one line.
local function present(sessions)
    local names, after = {}, nil
    repeat
        local page = assert(sessions:list({ prefix = "session:", limit = 100, after = after }))
        for _, item in ipairs(page.items) do
            table.insert(names, item.value.user)
        end
        after = page.cursor
    until not page.has_more
    return table.concat(names, ", ")
end

local function main()
    local sessions = assert(store.get("sessions:store"))
    local user = "user of " .. system.node.id()
    local key = "session:" .. system.node.id()
    local ends = process.events()
    local since = time.now():unix()
    local before = ""
    while true do
        -- Only this node writes this key, so that no write of another can replace it.
        assert(sessions:set(key, { user = user, since = since }, IDLE))
        local now = present(sessions)
        if now ~= before then print("present: " .. now) end
        before = now
        local got = channel.select({ ends:case_receive(), time.after("500ms"):case_receive() })
        if got.channel == ends then break end
    end
    sessions:delete(key)
end

return { main = main }
