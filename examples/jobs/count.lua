-- Counts the words of one text. Several of these run at once, so each count is changed only if nobody has changed it meanwhile.
local store = require("store")
local text = require("text")
local queue = require("queue")
local events = require("events")

local function add(words, word)
    while true do
        local entry = words:entry(word)
        local condition = entry and { if_version = entry.version } or { only_if_absent = true }
        local _, err = words:put(word, (entry and entry.value or 0) + 1, condition)
        if not err then
            return
        end
        if err:kind() ~= errors.CONFLICT and err:kind() ~= errors.ALREADY_EXISTS then
            error(err)
        end
        -- Somebody else was faster: read again.
    end
end

local function handle(body)
    if body.fails_first and not queue.message():header("again") then
        -- The first attempt puts it back with a mark; the queue would bring back the same message otherwise.
        queue.publish("jobs:texts", body, { again = true })
        return
    end
    local words = assert(store.get("jobs:words"))
    for _, word in ipairs(text.regexp.compile("[a-z]+"):find_all_string(string.lower(body.text))) do
        add(words, "word:" .. word)
    end
    words:release()
    events.send("jobs", "done", body.name)
end

return { handle = handle }
