local time = require("time")
local ctx = require("ctx")
local funcs = require("funcs")

local calls = 0
local attempts = 0

return {
    echo = function(value) return value, true end,
    add = function(a, b) return a + b end,
    nothing = function() end,
    refuse = function()
        return nil, errors.new{ message = "sold out", kind = errors.CONFLICT, retryable = true, details = { sku = "A1" } }
    end,
    refuse_text = function() return nil, "just no" end,
    crash = function() error("boom") end,
    slow = function() time.sleep("60s") return "late" end,
    who = function() return { pid = process.pid(), id = process.id() } end,
    context_of = function(key) return (ctx.get(key)) end,
    count = function()
        calls = calls + 1
        return calls
    end,
    deep = function(n)
        if n == 0 then return "bottom" end
        return funcs.call("funcs:deep", n - 1)
    end,
    mailbox = function()
        process.send(process.pid(), "hello", 42)
        return process.inbox():receive():payload():data()
    end,
    flaky = function(kind)
        attempts = attempts + 1
        if attempts % 3 ~= 0 then return nil, errors.new{ message = "not yet", kind = kind } end
        return attempts
    end,
}
