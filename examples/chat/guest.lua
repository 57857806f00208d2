-- A guest of a room. Whoever is in the room is in the group of that name, on whatever node.

local pg = require("pg")
local system = require("system")

local COMPANY = 3 -- it says hello as soon as so many are there, itself among them

local function main(room)
    local name = system.node.id()
    local me = process.pid()
    local rooms = assert(pg.open("chat:rooms"))
    local said = process.listen("say")
    local introduced = process.listen("i am", { message = true })
    local events = process.events()

    -- Who is here now, and every change from now on: nobody is missed, nobody is seen twice.
    local subscription, members = rooms:monitor(room)
    local changes = subscription:channel()
    assert(rooms:join(room))
    for _, pid in ipairs(members) do
        process.send(pid, "i am", name)
    end

    local names, known = {}, 1
    while true do
        local got = channel.select({
            changes:case_receive(),
            introduced:case_receive(),
            said:case_receive(),
            events:case_receive(),
        })
        if got.channel == changes then
            local change = got.value
            for _, pid in ipairs(change.data.PIDs) do
                if change.kind == "member.left" then
                    print((names[pid] or "somebody") .. " has left the " .. room)
                elseif pid ~= me then
                    process.send(pid, "i am", name)
                end
            end
        elseif got.channel == introduced then
            local pid = got.value:from()
            names[pid], known = got.value:payload():data(), known + 1
            print(names[pid] .. " is in the " .. room)
            if known == COMPANY then
                rooms:broadcast(room, "say", { name = name, text = "hello" })
            end
        elseif got.channel == said then
            print(got.value.name .. ": " .. got.value.text)
        elseif got.value.kind == process.event.CANCEL then
            return -- and with its end it leaves the room
        end
    end
end

return { main = main }
