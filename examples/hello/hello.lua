-- A program for the terminal. `--exec hello:hello Ada Grace` calls main("Ada", "Grace").

local io = require("io")

local function ask_name()
    io.write("What is your name? ")
    -- Waits for a line. Nothing else in the node stands still meanwhile.
    local line, err = io.readline()
    if err then
        return nil -- end of input
    end
    return line
end

local function main(...)
    local names = { ... }
    if #names == 0 then
        local name = ask_name()
        if not name then
            return nil, "nobody is there" -- a second value that is a string or an error object is a failure: exit code 1
        end
        names = { name }
    end
    for _, name in ipairs(names) do
        io.print("Hello, " .. name .. "!")
    end
    return 0 -- a number is the exit code
end

return { main = main }
