-- Deals out ranges to workers on all nodes. A range whose worker is lost, by a crash or with its node, is dealt out again.

local system = require("system")
local time = require("time")

local LAST, STEP = 60000, 1000

local waiting = {} -- ranges nobody works on
local working = {} -- PID -> its range, or false before the first
local nodes = {} -- PID -> the node it is on
local total, missing = 0, 0

local function node_names()
    local seen, names = {}, {}
    for _, node in pairs(nodes) do
        if not seen[node] then
            seen[node] = true
            names[#names + 1] = node
        end
    end
    table.sort(names)
    return table.concat(names, ", ")
end

--- A worker on every node that has none.
local function spawn_workers()
    local has_worker = {}
    for pid in pairs(working) do
        has_worker[nodes[pid]] = true
    end
    for _, member in ipairs(system.cluster.members()) do
        if not has_worker[member.id] then
            local pid = process.spawn_monitored("primes:worker", member.id .. "@primes:processes", process.pid())
            if pid then -- else the node is not reached yet: the next round tries again
                working[pid], nodes[pid] = false, member.id
            end
        end
    end
end

local function deal(pid)
    local range = table.remove(waiting)
    working[pid] = range or false
    if range then
        process.send(pid, "range", range)
    end
end

local function main()
    if system.node.id() ~= "node-1" then
        return -- one coordinator is enough
    end
    for first = 1, LAST, STEP do
        waiting[#waiting + 1] = { first = first, last = math.min(first + STEP - 1, LAST) }
        missing = missing + 1
    end

    local answers = process.listen("counted", { message = true })
    local events = process.events()
    local rounds = time.ticker("200ms"):channel()
    while missing > 0 do
        local got = channel.select({ events:case_receive(), answers:case_receive(), rounds:case_receive() })
        if got.channel == rounds then
            spawn_workers()
        elseif got.channel == answers then
            local pid, answer = got.value:from(), got.value:payload():data()
            if answer.first then
                total, missing = total + answer.count, missing - 1
            end
            deal(pid)
        elseif got.value.kind == process.event.CANCEL then
            return
        elseif got.value.kind == process.event.EXIT then
            local pid = got.value.from
            print("lost a worker on " .. nodes[pid] .. ": " .. tostring(got.value.result.error))
            waiting[#waiting + 1] = working[pid] or nil
            working[pid] = nil
        end
    end
    print(total .. " primes up to " .. LAST .. ", counted on " .. node_names())
end

return { main = main }
