-- Has an agent on every other node, and passes on to the reporter what they send. Agents are ordinary processes: spawned on a host of
-- another node, monitored, and sent for again when they or their node are gone.

local system = require("system")
local time = require("time")

local agents = {} -- node -> PID
local prices = {} -- node -> what its agent sent last

local function node_of(pid)
    for node, agent in pairs(agents) do
        if agent == pid then
            return node
        end
    end
end

--- Sends an agent to every node that has none.
local function send_agents()
    for _, member in ipairs(system.cluster.members()) do
        if not member.is_local and not agents[member.id] then
            -- A node that is known by gossip may not be reached yet; the next round tries again.
            agents[member.id] = process.spawn_monitored("market:agent", member.id .. "@market:floor", process.pid())
        end
    end
end

local function main()
    local news = process.listen("abroad", { message = true })
    local events = process.events()
    local rounds = time.ticker("1s"):channel()
    while true do
        local got = channel.select({ events:case_receive(), news:case_receive(), rounds:case_receive() })
        if got.channel == rounds then
            send_agents()
            process.send("reporter", "abroad", prices)
        elseif got.channel == news then
            local node = node_of(got.value:from())
            if node then
                prices[node] = got.value:payload():data()
            end
        elseif got.value.kind == process.event.CANCEL then
            return
        else -- EXIT of an agent
            local node = node_of(got.value.from)
            agents[node], prices[node] = nil, nil
            print("no word from " .. node .. " any more: " .. tostring(got.value.result.error or "its agent came home"))
        end
    end
end

return { main = main }
