-- Requests to the bank, one at a time.

local time = require("time")

local next_ref = 1

--- @return the answer's value, or nil and an error
local function request(op, fields)
    local ref = next_ref
    next_ref = ref + 1
    fields = fields or {}
    fields.op, fields.ref = op, ref

    local replies = process.listen("bank.reply")
    local _, err = process.send("bank", "bank", fields)
    if err then
        return nil, err
    end
    local limit = time.after("2s")
    while true do
        local got = channel.select({ replies:case_receive(), limit:case_receive() })
        if got.channel == limit then
            return nil, errors.new({ message = "the bank does not answer", kind = errors.TIMEOUT, retryable = true })
        end
        if got.value.ref == ref then -- anything else is the late answer to an earlier request
            return got.value.value, got.value.error
        end
    end
end

return { request = request }
