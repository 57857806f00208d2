-- Back-pressure. A mailbox takes whatever is sent to it, so a fast stage would flood a slow one. Here the receiver acknowledges each
-- item that it is done with, and the sender waits while `window` items are not acknowledged yet.

local Outlet = {}
Outlet.__index = Outlet

local function new(pid, window)
    return setmetatable({
        pid = pid,
        window = window,
        acks = process.listen("ack"),
        in_flight = 0,
        in_flight_max = 0, -- for the report
        waits = 0,
    }, Outlet)
end

function Outlet:send(item)
    if self.in_flight == self.window then
        self.waits = self.waits + 1
        self.acks:receive()
        self.in_flight = self.in_flight - 1
    end
    assert(process.send(self.pid, "item", item))
    self.in_flight = self.in_flight + 1
    self.in_flight_max = math.max(self.in_flight_max, self.in_flight)
end

-- Tells the next stage that nothing more comes. It arrives after all items: messages from one sender keep their order.
function Outlet:finish()
    assert(process.send(self.pid, "end"))
end

return { new = new }
