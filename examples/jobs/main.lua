local io = require("io")
local queue = require("queue")
local store = require("store")
local events = require("events")

local TEXTS = {
    { name = "fox", text = "The quick brown fox jumps over the lazy dog." },
    { name = "dog", text = "The dog does not mind; the fox does.", fails_first = true },
    { name = "bird", text = "A bird watches the fox and the dog." },
}

local function main()
    local done = assert(events.subscribe("jobs", "done"))
    for _, text in ipairs(TEXTS) do
        assert(queue.publish("jobs:texts", text))
    end
    for _ = 1, #TEXTS do
        done:channel():receive()
    end
    local words = assert(store.get("jobs:words"))
    for _, word in ipairs({ "the", "fox", "dog", "bird" }) do
        io.print(word .. ": " .. words:get("word:" .. word))
    end
end

return { main = main }
