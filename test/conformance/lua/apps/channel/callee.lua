return {
    echo = function(value) return value end,
    stuck = function() channel.select({}) end,
    idle = function() channel.new():receive() end,
    crashing_coroutine = function()
        coroutine.spawn(function() error("boom in the back") end)
        channel.new():receive()
    end,
    early_return = function(parent)
        local gate = channel.new()
        coroutine.spawn(function()
            gate:receive()
            process.send(parent, "ran on", true)
        end)
        coroutine.yield()
        gate:send(true)
        return "early"
    end,
}
