-- One in the whole cluster: whoever has the name sells a chest of gold now and then, the others wait for the name to be free. The bell before
-- the first auction is rung under a lock, by one of them.

local system = require("system")
local time = require("time")

local NAME = "auctioneer"
local registry = process.registry

--- Whoever gets the lock rings; it keeps the lock for as long as it lives.
local function ring_the_bell()
    local ok, _, token = system.lock.acquire("market/bell")
    if ok then
        print("rings the bell, with token " .. token .. ": the auctions are open")
    end
end

local function main()
    if #system.cluster.members() == 0 then
        return process.inbox():receive() -- a node by itself has no auctions
    end
    local events = process.events()
    local changes = assert(registry.watch(NAME)):channel()
    local rounds = time.ticker("500ms"):channel()
    local is_mine, has_rung, sold = false, false, 0
    while true do
        local got = channel.select({ events:case_receive(), changes:case_receive(), rounds:case_receive() })
        if got.channel == events then
            local reason = tostring(got.value.reason)
            if not reason:find("name revoked", 1, true) and not reason:find("lock lost", 1, true) then
                return
            end
            -- This node was out of touch, and another one may be the auctioneer by now.
            is_mine = false
        elseif got.channel == changes then
            local change = got.value
            if change.type == "released" then
                print("the auctioneer is gone")
            elseif change.type == "bound" and change.pid ~= process.pid() then
                print("the auctioneer is on " .. change.pid:match("^{([^@]+)@"))
            end
        elseif is_mine then
            sold = sold + 1
            if sold % 10 == 0 then
                print("sells a chest of gold on " .. system.node.id())
            end
        else
            is_mine = registry.register(NAME, nil, registry.CONSISTENT) == true
            if is_mine then
                print("is the auctioneer now, on " .. system.node.id())
                if not has_rung then
                    has_rung = true
                    ring_the_bell()
                end
            end
        end
    end
end

return { main = main }
