-- Counts the primes of each range it is given, and asks for the next by answering.

local function is_prime(n)
    if n < 2 then
        return false
    end
    for d = 2, math.floor(math.sqrt(n)) do
        if n % d == 0 then
            return false
        end
    end
    return true
end

local function main(coordinator)
    local ranges = process.listen("range")
    local events = process.events()
    assert(process.link(coordinator)) -- without the coordinator there is nothing to do here
    assert(process.send(coordinator, "counted", { count = 0 }))
    while true do
        local got = channel.select({ events:case_receive(), ranges:case_receive() })
        if got.channel == events then
            return
        end
        local range, count = got.value, 0
        for n = range.first, range.last do
            if is_prime(n) then
                count = count + 1
            end
        end
        process.send(coordinator, "counted", { first = range.first, count = count })
    end
end

return { main = main }
