-- Coroutines of one process share its variables and talk through channels. Three workers take jobs from one channel; each job waits
-- a while, as a call to another system would. The results are printed in the order of the jobs, not in that of their completion.

local io = require("io")
local time = require("time")

local WORKERS = 3
local JOBS = 9

local function work(number)
    time.sleep(10 * (JOBS - number + 1) .. "ms") -- the first job takes longest; meanwhile the other workers run
    return number * number
end

local function main()
    local jobs = channel.new() -- unbuffered: a job is handed over when a worker is free
    local results = channel.new(JOBS)

    for worker = 1, WORKERS do
        -- Starts when this coroutine waits for the first time.
        coroutine.spawn(function()
            while true do
                local number, is_open = jobs:receive()
                if not is_open then
                    return
                end
                results:send({ number = number, value = work(number), worker = worker })
            end
        end)
    end

    for number = 1, JOBS do
        jobs:send(number)
    end
    jobs:close() -- the workers' receive returns nil, false

    local by_number, finished = {}, {}
    for i = 1, JOBS do
        local result = results:receive()
        by_number[result.number] = result
        finished[i] = result.number
    end

    for number = 1, JOBS do
        local result = by_number[number]
        io.print("job " .. number .. " = " .. result.value .. " (worker " .. result.worker .. ")")
    end
    io.print("finished in the order " .. table.concat(finished, " "))
end

return { main = main }
