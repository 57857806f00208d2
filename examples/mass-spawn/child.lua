-- Waits for one message, then ends with its argument as result.

local function main(number)
    process.inbox():receive()
    return number
end

return { main = main }
