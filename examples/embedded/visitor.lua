-- Asks the TypeScript actor "formatter" to write an amount as people of a country do, which Lua cannot. To a Lua process, an actor in
-- TypeScript is a process like any other: it has a PID, it can be monitored and linked.

local function main(amount, countries)
    local formatted = process.listen("formatted")
    local formatter = assert(process.registry.lookup("formatter"))
    assert(process.monitor(formatter))

    local texts = {}
    for i, country in ipairs(countries) do
        process.send(formatter, "format", { amount = amount, country = country })
        texts[i] = formatted:receive()
    end

    -- A Lua process can also spawn TypeScript actors that the program has defined.
    local sum = process.exec("actor:adder", "system:actors", 40, 2)
    return { texts = texts, sum = sum }
end

return { main = main }
